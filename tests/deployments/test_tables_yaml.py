import json
from pathlib import Path

from ferry.specs import parse_table_specs, tables_json_schema

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"


def test_the_shipped_specs_are_valid():
    file = DEPLOYMENTS / "tables.yaml"
    specs = parse_table_specs(file.read_text(), file.name)
    assert set(specs) >= {"nps", "orders"}


def test_the_exported_schema_is_the_models():
    """If this fails: `python -m deployments.export_schema`."""
    exported = json.loads((DEPLOYMENTS / "tables.schema.json").read_text())
    assert exported == tables_json_schema()
