"""A receipt's fields and the columns of its table are the same."""

from __future__ import annotations

import dataclasses

import pytest

from ferry.receipts.read_as import read_as
from ferry.receipts.receipt import RECEIPT_COLUMNS, Receipt
from ferry.schema import Kind
from ferry.specs.tables import TableSpec


def test_every_field_has_its_column_and_what_older_tables_lack_can_be_missing():
    fields = {each.name: each for each in dataclasses.fields(Receipt)}
    columns = {each.name: each for each in RECEIPT_COLUMNS}
    assert set(fields) == set(columns)
    newer = [name for name, each in fields.items() if each.default is not dataclasses.MISSING]
    assert all(columns[name].nullable for name in newer)
    assert [each.name for each in RECEIPT_COLUMNS][-len(newer) :] == newer


@pytest.mark.parametrize("letter", ["a", "ж", "\N{FERRY}", "\\"])
def test_how_a_batch_was_read_has_room_whatever_marks_its_deletions(letter: str) -> None:
    spec = {"name": "t", "source": "shop", "mode": "window", "key": ["id"], "cursor": "modified"}
    marks = {"soft_deletes": "apply", "deleted_column": "gone", "deleted_values": [letter * 190]}
    said = read_as(TableSpec.model_validate({**spec, **marks}), "window", Kind.TIMESTAMP)
    (column,) = [each for each in RECEIPT_COLUMNS if each.name == "read_as"]
    assert column.type.max_bytes and len(said.encode()) < column.type.max_bytes / 2
