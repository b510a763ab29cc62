"""The table specs that this installation carries."""

from __future__ import annotations

import os
from pathlib import Path

from ferry.errors import SpecError
from ferry.settings import check_settings
from ferry.specs.tables_file import TableSpecs, parse_table_specs

DEFAULT_FILE = Path(__file__).parents[2] / "deployments" / "tables.yaml"


def load_table_specs() -> TableSpecs:
    """The specs in the file that `FERRY_TABLES` names, by default `deployments/tables.yaml`.

    Raises:
        ConfigurationError: A setting is misspelled, and may be just the one that names the file; or
            that one is empty.
        SpecError: The file cannot be read or is misspelled; with file, line and field.
    """
    check_settings(os.environ)
    file = Path(os.environ.get("FERRY_TABLES") or DEFAULT_FILE)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"the table specs cannot be read from {file}",
            todo="Set FERRY_TABLES to the file, in UTF-8.",
        ) from error
    return parse_table_specs(text, file.name)
