import json
from pathlib import Path

import pytest

from deployments.export_schema import SCHEMAS
from ferry.specs.tables_file import parse_table_specs

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"


def test_the_shipped_specs_are_valid():
    file = DEPLOYMENTS / "tables.yaml"
    specs = parse_table_specs(file.read_text(), file.name)
    assert set(specs) >= {"nps", "orders"}


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_exported_schema_is_the_models(name: str):
    """If this fails: `python -m deployments.export_schema`."""
    exported = json.loads((DEPLOYMENTS / name).read_text())
    assert exported == SCHEMAS[name]()
