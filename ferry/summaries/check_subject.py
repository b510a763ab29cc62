"""What is being checked: the rows just built, and the table as it is about to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ferry.schema import TableName
from ferry.statements import column_list, quoted, table_sql
from ferry.summaries.moments import Zoned, moment_values, moments
from ferry.summaries.partitions import EVERYTHING, Span, window_values


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
        """The values of the parameters in any statement."""
        all_of_them = Span(self.spans[0].start, self.spans[-1].end)
        values: dict[str, Any] = window_values(all_of_them)
        values.update(moment_values(all_of_them, self.zone))
        for number, span in enumerate(self.spans):
            bounds = span.start, span.end
            if self.partition and self.has_zone(self.target, self.partition):
                bounds = moments(span, self.zone)
            values[f"span_{number}_start"], values[f"span_{number}_end"] = bounds
        return values

    def has_zone(self, table: TableName, column: str) -> bool:
        """Whether this column has a zone."""
        return column in self.zoned.get(table, ())

    def about_to_be(self, param: Callable[[str], str]) -> str:
        """The table as it will be: the built rows, and the published ones that stay."""
        assert self.built is not None
        if self.whole or not self.published or self.partition is None:
            return table_sql(self.built)
        names = column_list(self.columns)
        return (
            f"(SELECT {names} FROM {table_sql(self.built)} UNION ALL "  # noqa: S608  # names
            f"SELECT {names} FROM {table_sql(self.target)} WHERE NOT ({self.within(param)}))"
        )

    def within(self, param: Callable[[str], str]) -> str:
        """The condition that a row is in one of the spans."""
        assert self.partition is not None
        column = quoted(self.partition)
        return " OR ".join(
            f"({column} >= {param(f'span_{n}_start')} AND {column} < {param(f'span_{n}_end')})"
            for n in range(len(self.spans))
        )
