"""The JSON Schema of the table specs, by which editors check and explain them."""

from __future__ import annotations

from typing import Any

from ferry.specs.tables import TableSpec


def tables_json_schema() -> dict[str, Any]:
    """The JSON Schema of `tables.yaml`."""
    table = TableSpec.model_json_schema(by_alias=True)
    definitions = table.pop("$defs", {})
    table.pop("required", None)
    table["properties"].pop("name")
    defaults = {**table, "title": "Defaults", "description": "Values for every table."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ferry table specs",
        "type": "object",
        "additionalProperties": False,
        "required": ["tables"],
        "properties": {
            "defaults": defaults,
            "tables": {
                "type": "object",
                "additionalProperties": {"anyOf": [table, {"type": "null"}]},
            },
        },
        "$defs": definitions,
    }
