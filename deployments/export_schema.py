"""Writes `tables.schema.json`, which editors use to check and explain `tables.yaml`."""

from __future__ import annotations

import json
from pathlib import Path

from ferry.specs import tables_json_schema

if __name__ == "__main__":
    text = json.dumps(tables_json_schema(), indent=2) + "\n"
    Path(__file__).with_name("tables.schema.json").write_text(text, encoding="utf-8")
