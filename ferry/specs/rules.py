"""What the fields of a table's spec have to be to each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from ferry.specs.values import MOST_SETTLE_SECONDS

if TYPE_CHECKING:
    from ferry.specs.tables import TableSpec


def contradictions(spec: TableSpec) -> Iterator[tuple[str, str]]:
    """What cannot be: the field whose line is to be told, empty for the table's; and why."""
    if spec.mode == "window" and not spec.key:
        yield "", "mode window needs a key: the columns that identify a row"
    if spec.soft_deletes == "apply" and not spec.key:
        yield "", "soft_deletes: apply needs a key: the columns that identify a row"
    if spec.deleted_values and spec.soft_deletes != "apply" and spec.hard_deletes != "mark":
        yield "", "deleted_values needs soft_deletes: apply, or hard_deletes: mark"
    if spec.catch_up and (spec.mode != "window" or spec.start_date is None):
        yield "", "catch_up needs mode window and a start_date"
    if spec.hard_deletes == "mark" and spec.mode == "full":
        yield "", "hard_deletes: mark is not for mode full, whose copies write every row anew"
    if spec.audit_days and spec.mode != "window":
        yield "", "audit_days is for mode window"
    if spec.hard_deletes != "report" and not spec.key:
        yield "", f"hard_deletes: {spec.hard_deletes} needs a key: the columns that identify a row"
    columns = {name.lower() for name in (spec.cursor, spec.version) if name}
    if columns.intersection(name.lower() for name in spec.as_text):
        yield "", "as_text: a cursor or a version has an order, which its text has not"
    if spec.lookback and spec.mode != "window":
        yield "", "lookback is for mode window; a watermark has `lag`"
    yield from _excluded_and_needed(spec)


LATE = ("settle", "lag")
"""What is for rows that commit late, and which runs of one mode alone look at."""


def in_vain(spec: TableSpec, own: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Fields of `LATE` that no run of the spec's mode looks at, while late rows are lost.

    Beside what its mode's runs look at they may stand: a watermark's `settle` is for the windows
    that a backfill makes of it, and a window's `lag` for a run with `mode=watermark`.

    Args:
        spec: The table's spec.
        own: Those that the table says itself; under `defaults` they may be for tables of another
            mode.

    Yields:
        The field, why no such run looks at it, and what to do.
    """
    if spec.mode == "watermark" and "settle" in own and spec.settle and not spec.lag:
        why = "is for windows; what commits late, a watermark reads again by `lag`"
        yield "settle", why, "Set `lag`, or leave `settle` out."
    later = spec.lag > spec.settle_seconds and not (spec.lookback or spec.audit_days)
    if spec.mode == "window" and "lag" in own and later:
        why = "is for watermarks; for what commits late, a window has `settle` and `lookback`"
        enough = f", or a `settle` of at least {spec.lag}" * (spec.lag <= MOST_SETTLE_SECONDS)
        yield "lag", why, f"Set `lookback`{enough}, or leave `lag` out."


def _excluded_and_needed(spec: TableSpec) -> Iterator[tuple[str, str]]:
    """Columns that other fields name, and that are not carried."""
    needed = {
        "key": spec.key,
        "cursor": (spec.cursor,),
        "version": (spec.version,),
        "deleted_column": (spec.deleted_column if spec.soft_deletes == "apply" else None,),
        "sort_key": spec.sort_key,
        "dist_key": (spec.dist_key,),
    }
    excluded = {name.lower() for name in spec.exclude}
    for field, names in needed.items():
        both = [name for name in names if name and name.lower() in excluded]
        if both:
            yield (
                "exclude",
                f"`{field}` needs the column {', '.join(both)} to be carried: take it out of "
                f"`exclude`, or name another `{field}`",
            )
