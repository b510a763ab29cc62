"""What a summary's plan takes in of the changes of its tables, and why it is built whole."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

from ferry.summaries.partitions import EVERYTHING, Span
from ferry.summaries.touched import Change
from tasks.plan_summary import _covers, _why_whole

FIRST = Span(datetime(2023, 1, 1), datetime(2023, 1, 2))
SECOND = Span(datetime(2023, 1, 2), datetime(2023, 1, 3))


def test_a_change_is_taken_in_once_and_only_if_all_that_it_touched_is_built() -> None:
    both = [Change("both", "raw.orders", span) for span in (FIRST, SECOND)]
    changes = [*both, *[Change("first", "raw.orders", FIRST)] * 2]
    assert _covers(changes, (FIRST,)) == ("first",)
    assert _covers(changes, (FIRST, SECOND)) == ("both", "first")


def test_why_it_is_built_whole_names_the_column_only_where_it_is_not_the_cursor() -> None:
    def why(read: str | None, cursor: str | None) -> str:
        table: Any = SimpleNamespace(target="raw.orders", cursor=cursor)
        spec: Any = SimpleNamespace(reads={"raw.orders": read and SimpleNamespace(column=read)})
        return _why_whole(spec, [Change("a", "raw.orders", EVERYTHING)] * 2, {"orders": table})

    unknown = "which days changed in raw.orders is not known"
    for read, cursor in ((None, "modified"), ("day", None), ("modified", "modified")):
        assert why(read, cursor) == unknown
    named = ", of which `reads` names the column day, and which is carried by modified"
    assert why("day", "modified") == unknown + named
