"""Which primary key the rows of a target keep to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ferry.errors import SchemaError
from ferry.schema import Column, DataType, Kind, TableName, TableSchema
from ferry.target.declared_key import DeclaredKey, kept_key, refuse_untrue_key

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
        (("Id", "gone"), None, set()),
        (("Id", "n"), None, set()),
        ((), None, set()),
    ],
)
def test_a_full_copy_and_an_upsert_by_a_part_of_the_source_s_primary_key_keep_to_it(
    key: tuple[str, ...], upsert_by: Sequence[str] | None, kept: set[str]
) -> None:
    table = TableName("shop", "t")
    assert kept_key(TableSchema(table, COLUMNS, key), upsert_by) == kept
    assert kept_key(TableSchema(table, COLUMNS, key, unique=False), upsert_by) == set()


def test_a_declared_key_has_to_hold_all_columns_of_one_that_is_kept() -> None:
    table, declared = TableName("raw", "t"), DeclaredKey("t_pkey", ("id", "a"))
    for kept in ({"id", "a"}, {"id"}):
        refuse_untrue_key(table, declared, frozenset(kept))
    refuse_untrue_key(table, None, frozenset())
    for kept in (set(), {"b"}, {"id", "a", "b"}):
        with pytest.raises(SchemaError, match="need not keep to"):
            refuse_untrue_key(table, declared, frozenset(kept))
