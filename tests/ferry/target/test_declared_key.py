"""Which primary key the rows of a target keep to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ferry.schema import Column, DataType, Kind, TableName, TableSchema
from ferry.target.declared_key import kept_key

NAMES = ("Id", "a", "n")
COLUMNS = tuple(Column(name, DataType(Kind.INT32), nullable=name == "n") for name in NAMES)


@pytest.mark.parametrize(
    ("key", "upsert_by", "kept"),
    [
        (("Id",), ["id"], {"id"}),
        (("Id", "a"), ["ID"], {"id", "a"}),  # as of a partitioned table
        (("Id",), ["id", "a"], set()),
        (("Id",), ["a"], set()),
        (("Id",), [], set()),
        (("Id",), None, {"id"}),
        (("n",), None, set()),
        (("gone",), None, set()),
        ((), None, set()),
    ],
)
def test_a_full_copy_and_an_upsert_by_a_part_of_the_source_s_primary_key_keep_to_it(
    key: tuple[str, ...], upsert_by: Sequence[str] | None, kept: set[str]
) -> None:
    table = TableName("shop", "t")
    assert kept_key(TableSchema(table, COLUMNS, key), upsert_by) == kept
    assert kept_key(TableSchema(table, COLUMNS, key, unique=False), upsert_by) == set()
