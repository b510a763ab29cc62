"""What the sums of each column cost: the whole path with them and without them, in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deployments.bench.measured import Measured, MeasuredError
from deployments.bench.reconcile import RunOne
from deployments.bench.servers import BenchServers
from deployments.bench.table import Row, Samples, row

COST = 1.25
"""At most this times the same path without sums."""

WITHOUT = "none"
SUMS = (WITHOUT, "lengths", "digests")
"""None, of which only the bench knows; and what `text_sums` of a table's spec may be."""

WAREHOUSES = {"postgres": "PostgreSQL", "double": "the double"}

Found = dict[tuple[str, str, str], Samples]
"""By table, route and sums."""


def measure(servers: BenchServers, one: RunOne, rows: Mapping[str, int], rounds: int) -> Found:
    """Carry each table to each warehouse, in mode full: as often with each of the sums.

    Raises:
        MeasuredError: A run failed, or carried other rows than the source has.
    """
    found: Found = {}
    for number in range(rounds):
        turn = number % len(SUMS)
        for table, count in rows.items():
            for route in WAREHOUSES:
                for sums in (*SUMS[turn:], *SUMS[:turn]):
                    measured = _carry(servers, one, f"{table}_{route}", sums, count)
                    samples = found.setdefault((table, route, sums), Samples())
                    samples.add(measured.seconds, measured.peak_mb)
    return found


def _carry(servers: BenchServers, one: RunOne, table: str, sums: str, count: int) -> Measured:
    servers.empty_targets()
    measured = one("path-with-sums", table, sums)
    if measured.result["rows"] != count:
        raise MeasuredError(f"{table} carried {measured.result['rows']} of {count} rows")
    return measured


def table_rows(found: Found, rows: Mapping[str, int]) -> Iterator[Row]:
    """The rows of this section."""
    for (table, route, sums), samples in found.items():
        bare = found[table, route, WITHOUT].median
        alone = sums == WITHOUT
        yield row(
            f"whole path to {WAREHOUSES[route]}, " + ("no sums" if alone else f"text_sums: {sums}"),
            f"{table}, {rows[table]:,} rows",
            seconds=samples.median,
            ratio=None if alone else samples.median / bare,
            to="" if alone else "no sums",
            goal=None if alone else COST,
            peak=samples.peak_mb,
        )
