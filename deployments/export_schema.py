"""Writes the JSON Schemas that editors use to check and explain the specs as they are written.

`tables.schema.json` is for `tables.yaml`, `summaries/summary.schema.json` for every `summary.yaml`.
"""

from __future__ import annotations

import json
from pathlib import Path

from ferry.specs.json_schema import tables_json_schema
from ferry.summaries.files import summary_json_schema

SCHEMAS = {
    "tables.schema.json": tables_json_schema,
    "summaries/summary.schema.json": summary_json_schema,
}

if __name__ == "__main__":
    for name, schema in SCHEMAS.items():
        text = json.dumps(schema(), indent=2) + "\n"
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
