"""A receipt's fields and the columns of its table are the same."""

from __future__ import annotations

import dataclasses

from ferry.receipts.receipt import RECEIPT_COLUMNS, Receipt


def test_every_field_has_its_column_and_what_older_tables_lack_can_be_missing():
    fields = {each.name: each for each in dataclasses.fields(Receipt)}
    columns = {each.name: each for each in RECEIPT_COLUMNS}
    assert set(fields) == set(columns)
    newer = [name for name, each in fields.items() if each.default is not dataclasses.MISSING]
    assert all(columns[name].nullable for name in newer)
    assert [each.name for each in RECEIPT_COLUMNS][-len(newer) :] == newer
