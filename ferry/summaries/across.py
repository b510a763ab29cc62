"""Window functions that look across a summary's partitions, as far as its query tells.

The rows of a partition are built beside those of whichever others a change has touched. A function
over all of them is another number when another span is built.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from ferry.schema import Kind
from ferry.summaries.specs import SummarySpec


def looking_across(spec: SummarySpec, tree: exp.Expression) -> exp.Window | None:
    """A window function of the query that certainly looks across partitions; None if none does.

    It does where it is over all rows of the span, without PARTITION BY; or, by day, where it is
    ordered by that day, which would be pointless within one. Of another PARTITION BY it cannot be
    told: all rows of an order may well be of one day.
    """
    for window in tree.find_all(exp.Window):
        select = window.parent_select
        if window.args.get("alias") or not isinstance(select, exp.Select):
            continue  # a named one is looked at where it is written
        parts = [c for each in window.args.get("partition_by") or () for c in _columns(each)]
        over_all = not parts and _bounded(select, tree, set()) and not _in_an_expression(select)
        if over_all or (select is tree and _ordered_by_its_day(window, parts, select, spec)):
            return window
    return None


def _columns(node: exp.Expression) -> Iterable[str]:
    return (column.name.lower() for column in node.find_all(exp.Column))


def _ordered_by_its_day(
    window: exp.Window, parts: list[str], select: exp.Select, spec: SummarySpec
) -> bool:
    """Whether it goes along the summary's days, which are the ones that the query yields."""
    if spec.partition is None or spec.partition.by != "day":
        return False
    day, order = spec.partition.column, window.args.get("order")
    by = [each.this for each in order.expressions] if order else []
    yielded = [each for each in select.expressions if each.alias_or_name.lower() == day]
    return (
        spec.kind(day) is Kind.DATE
        and day not in parts
        and all(isinstance(each, exp.Column) for each in yielded)
        and any(isinstance(each, exp.Column) and each.name.lower() == day for each in by)
    )


def _bounded(select: exp.Expression, tree: exp.Expression, seen: set[str]) -> bool:
    """Whether its rows are those of the window: itself, or in what it reads.

    A table that is read as a whole is the same whichever partitions are built.
    """
    if select.find(exp.Placeholder):
        return True
    named = {cte.alias.lower(): cte.this for cte in tree.find_all(exp.CTE)}
    read = {table.name.lower() for table in select.find_all(exp.Table) if not table.db}
    further = (read & set(named)) - seen
    return any(_bounded(named[name], tree, seen | further) for name in further)


def _in_an_expression(select: exp.Select) -> bool:
    """Whether it is a subquery for a value or a condition, which may be asked for each row."""
    node: exp.Expression = select
    while node.parent is not None:
        inside = isinstance(node.parent, exp.Select) and node.arg_key == "expressions"
        if inside or not isinstance(node.parent, _SOURCES):
            return True
        node = node.parent
    return False


_SOURCES = (exp.Query, exp.From, exp.Join, exp.CTE, exp.With)
"""What stands around a query whose rows are read."""
