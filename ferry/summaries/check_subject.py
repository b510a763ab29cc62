"""What is being checked: the rows just built, and the table as it is about to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ferry.schema import TableName
from ferry.statements import column_list, quoted, table_sql
from ferry.summaries.moments import MOMENTS, Zoned, moment_values, moments
from ferry.summaries.partitions import EVERYTHING, Span, window_values
from ferry.summaries.query import WINDOW, param


@dataclass(frozen=True)
class Subject:
    """What is being checked.

    Attributes:
        target: The published table's name.
        columns: The summary's columns.
        built: The table that holds the rows just built; before that, None.
        published: Whether there is a published table to compare with.
        spans: What is built.
        partition: The column that tells a row's partition; None if the summary has none.
        reads: The tables that it reads, by name, with the column that ties each to the partitions.
        zoned: The columns that have a zone, by table: they are compared with moments.
        zone: The zone in which such a column is counted into partitions.
        gained: The columns that the published table does not have yet.
        by_window: Whether later builds replace just the partitions that they build.
    """

    target: TableName
    columns: tuple[str, ...]
    built: TableName | None
    published: bool
    spans: tuple[Span, ...]
    partition: str | None
    reads: Mapping[str, str | None]
    zoned: Zoned = field(default_factory=dict)
    zone: str = "UTC"
    gained: frozenset[str] = frozenset()
    by_window: bool = True

    @property
    def whole(self) -> bool:
        """Whether all of the summary is built."""
        return EVERYTHING in self.spans

    @property
    def values(self) -> dict[str, Any]:
        """The values of the parameters in any statement: of each span, by its number."""
        values: dict[str, Any] = {}
        for number, span in enumerate(self.spans):
            of_span = {**window_values(span), **moment_values(span, self.zone)}
            values.update({numbered(name, number): value for name, value in of_span.items()})
            bounds = span.start, span.end
            if self.partition and self.has_zone(self.target, self.partition):
                bounds = moments(span, self.zone)
            values[numbered("span_start", number)] = bounds[0]
            values[numbered("span_end", number)] = bounds[1]
        return values

    def of_span(self, text: str, number: int) -> str:
        """The SQL with the bounds of one span for those of the window."""
        for name in (*WINDOW, *MOMENTS):
            text = text.replace(param(name), param(numbered(name, number)))
        return text

    def has_zone(self, table: TableName, column: str) -> bool:
        """Whether this column has a zone."""
        return column in self.zoned.get(table, ())

    def about_to_be(self, as_param: Callable[[str], str] = param) -> str:
        """The table as it will be: the built rows, and the published ones that stay."""
        assert self.built is not None
        if self.whole or not self.published or self.partition is None:
            return table_sql(self.built)
        names = column_list(self.columns)
        return (
            f"(SELECT {names} FROM {table_sql(self.built)} UNION ALL "  # noqa: S608  # names
            f"SELECT {names} FROM {table_sql(self.target)} WHERE NOT ({self.within(as_param)}))"
        )

    def within(self, as_param: Callable[[str], str] = param) -> str:
        """The condition that a row of the summary is in one of the spans."""
        assert self.partition is not None
        return self._between(self.partition, "span_start", "span_end", as_param)

    def within_read(self, table: TableName, tie: str) -> str:
        """The condition that a row of a table that it reads is in one of the spans."""
        return self._between(tie, *(MOMENTS if self.has_zone(table, tie) else WINDOW), param)

    def _between(self, name: str, start: str, end: str, as_param: Callable[[str], str]) -> str:
        column = quoted(name)
        return " OR ".join(
            f"({column} >= {as_param(numbered(start, n))} "
            f"AND {column} < {as_param(numbered(end, n))})"
            for n in range(len(self.spans))
        )


def numbered(name: str, number: int) -> str:
    """The parameter's name for one of the spans."""
    return f"{name}_{number}"
