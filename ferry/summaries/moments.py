"""A summary's days, as moments, for what has a zone.

`:window_start` and `:window_end` are a day's wall-clock bounds. A column without a zone is compared
with them as they are; one with a zone (TIMESTAMPTZ) with the moments at which the days begin in the
summary's zone. Left to the warehouse, they would be taken for UTC's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from ferry.schema import TableName
from ferry.summaries.partitions import FIRST, LAST, Span
from ferry.summaries.query import WINDOW, Query
from ferry.windows import local_midnight

Zoned = Mapping[TableName, Collection[str]]
"""The columns that have a zone, in lower case, by table."""

MOMENTS = ("moment_start", "moment_end")
"""The parameters that `by_moments` puts into a query in place of those of the window."""

_MOMENTS = dict(zip(WINDOW, MOMENTS, strict=True))
_COMPARED = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.NEQ, exp.Between)
_TIMES = ("date", "timestamp", "timestamptz")


def moments(span: Span, zone: str) -> tuple[datetime, datetime]:
    """When the span's first day begins in the zone, and the first one after its last.

    The ends of everything are the same moments in whatever zone.
    """
    start, end = (
        bound.replace(tzinfo=UTC)
        if bound in (FIRST, LAST)
        else local_midnight(bound.date(), zone).astimezone(UTC)
        for bound in (span.start, span.end)
    )
    return start, end


def moment_values(span: Span, zone: str) -> dict[str, datetime]:
    """The values of `:moment_start` and `:moment_end`, which `by_moments` puts into a query."""
    return dict(zip(MOMENTS, moments(span, zone), strict=True))


def by_moments(query: Query, zoned: Zoned) -> Query:
    """The query, with moments where a window's bound is compared with a column that has a zone.

    Only where one side is the column itself, or passes through subqueries as it is: what is
    computed of it, such as `read_at AT TIME ZONE 'Asia/Seoul'`, has no zone any more.

    Args:
        query: Any query of a summary.
        zoned: The columns that have a zone, of the tables that it reads.
    """
    if not any(zoned.values()):
        return query
    parts = {}
    for scope in traverse_scope(query.tree.copy()):
        for column in scope.columns:
            compared = _outermost(column).parent
            if isinstance(compared, _COMPARED) and _has_zone(column, scope, zoned):
                for side in compared.iter_expressions():
                    if moment := _moment(side):
                        parts[query.source_text.span_of(side)] = f":{moment}"
    return query.with_parts(parts)


def _outermost(node: exp.Expression) -> exp.Expression:
    while isinstance(node.parent, exp.Paren):
        node = node.parent
    return node


def _moment(inner: exp.Expression) -> str | None:
    """The moment that a bound of the window is, where it stands alone or is cast to a time."""
    while isinstance(inner, exp.Paren) or (
        isinstance(inner, exp.Cast) and inner.to.this.value.lower() in _TIMES
    ):
        inner = inner.this
    return _MOMENTS.get(inner.name) if isinstance(inner, exp.Placeholder) else None


def _has_zone(column: exp.Column, scope: Scope, zoned: Zoned) -> bool:
    """Whether it is a table's column that has a zone, whatever subqueries it passes through."""
    sources = scope.sources
    if column.table:
        sources = {column.table: sources[column.table]} if column.table in sources else {}
    return any(_yields_zone(column.name.lower(), each, zoned) for each in sources.values())


def _yields_zone(name: str, source: exp.Expression | Scope, zoned: Zoned) -> bool:
    if isinstance(source, exp.Table):
        return name in zoned.get(TableName(source.db.lower(), source.name.lower()), ())
    if not isinstance(source, Scope):
        return False
    if source.set_operation_scopes:
        return any(_yields_zone(name, each, zoned) for each in source.set_operation_scopes)
    for selected in source.expression.selects:
        inner = selected.unalias()
        if selected.is_star:
            if any(_yields_zone(name, each, zoned) for each in source.sources.values()):
                return True
        elif selected.alias_or_name.lower() == name and isinstance(inner, exp.Column):
            return _has_zone(inner, source, zoned)
    return False
