"""What the fields of a table's spec have to be to each other."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ferry.errors import SpecError
from ferry.specs.tables_file import parse_table_specs

WINDOW: dict[str, Any] = {"source": "shop", "mode": "window", "key": ["id"]}
FULL: dict[str, Any] = {"source": "shop", "mode": "full"}
WATERMARK: dict[str, Any] = {"source": "shop", "mode": "watermark", "key": ["id"]}
FIRST = {"start_date": "2023-01-01"}


def parse(fields: dict[str, Any]) -> None:
    parse_table_specs(yaml.safe_dump({"tables": {"t": fields}}, sort_keys=False), "tables.yaml")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({**FULL, "soft_deletes": "apply"}, "soft_deletes: apply needs a key"),
        ({**WINDOW, "deleted_values": ["Y"]}, "deleted_values needs soft_deletes: apply, or"),
        ({**WINDOW, "catch_up": True}, "catch_up needs mode window and a start_date"),
        ({**WATERMARK, **FIRST, "catch_up": True}, "catch_up needs mode window and a start_date"),
        (
            {**FULL, "key": ["id"], "hard_deletes": "mark"},
            "hard_deletes: mark is not for mode",
        ),
        ({**FULL, "hard_deletes": "delete"}, "hard_deletes: delete needs a key"),
        ({**WATERMARK, "audit_days": 3}, "audit_days is for mode window"),
        ({**WATERMARK, "lookback": 60}, "lookback is for mode window"),
        ({**WINDOW, "cursor": "At", "as_text": ["at"]}, "as_text: a cursor or a version has an"),
        ({**WINDOW, "version": "v", "as_text": ["V"]}, "as_text: a cursor or a version has an"),
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(fields)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {**WINDOW, "soft_deletes": "apply", "deleted_values": ["Y"]},
        {**WINDOW, "hard_deletes": "mark", "deleted_values": ["Y"]},
        {**WINDOW, **FIRST, "catch_up": True},
        {**WATERMARK, "hard_deletes": "mark"},
        {**FULL, "key": ["id"], "hard_deletes": "delete"},
        {**WINDOW, "audit_days": 3, "lookback": 60, "hard_deletes": "delete"},
        {**WINDOW, "cursor": "at", "as_text": ["note"]},
        {**WINDOW, "exclude": ["deleted"]},
    ],
)
def test_what_goes_together_is_taken(fields: dict[str, Any]) -> None:
    parse(fields)
