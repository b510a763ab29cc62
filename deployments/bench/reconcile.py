"""What comparing costs: against the slower side's bare query of fingerprints, and reladiff."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import quote

from deployments.bench.measured import Measured, MeasuredError, run
from deployments.bench.servers import REPOSITORY, SCHEMA, YEAR, BenchServers
from deployments.bench.table import Row, row

TABLE = "nps_double"
EQUAL, DIFFERENT = 1.3, 1.6
"""At most so many times the slower of the bare queries."""

WIRE_MB = 1.0
WEEK_SECONDS = 1.0
_RELADIFF_SECONDS = 900

RunOne = Callable[..., Measured]


@dataclass
class Found:
    """What was measured, a value for each round.

    Attributes:
        rows: How many rows the table has.
        bare: The slower of the bare queries.
        equal: Everything compared, alike.
        different: The same with three rows that differ.
        wire_mb: What went over the loopback meanwhile.
        week: The last seven days compared.
        week_rows: How many rows these have.
        reladiff: The peer, with the same three rows.
        peak_mb: The highest memory of a process that compared.
        notes: Lines to print below the table.
    """

    rows: int
    bare: list[float] = field(default_factory=list)
    equal: list[float] = field(default_factory=list)
    different: list[float] = field(default_factory=list)
    wire_mb: list[float] = field(default_factory=list)
    week: list[float] = field(default_factory=list)
    week_rows: int = 0
    reladiff: list[float] = field(default_factory=list)
    peak_mb: float = 0.0
    notes: list[str] = field(default_factory=list)


def measure(servers: BenchServers, one: RunOne, rows: int, rounds: int) -> Found:
    """Carry the table, compare it, let three rows differ, and compare it again.

    Raises:
        MeasuredError: A run failed, or found other than what is there.
    """
    servers.empty_targets()
    one("whole-path", TABLE, "window")
    found = Found(rows)
    for _ in range(rounds):
        found.bare.append(one("fingerprints", TABLE).seconds)
        compared = _compare(one, found, expected=0)
        found.equal.append(compared.seconds)
        found.wire_mb.append(compared.result["wire_bytes"] / 1e6)
        week = one("compare", TABLE, "7")
        found.week.append(week.seconds)
        found.week_rows = week.result["rows"]
    _drift(servers)
    for _ in range(rounds):
        found.different.append(_compare(one, found, expected=3).seconds)
    if find_spec("reladiff") is None:
        found.notes.append("reladiff is not installed here.")
        return found
    for _ in range(rounds):
        try:
            found.reladiff.append(_reladiff(servers))
        except MeasuredError as error:
            found.notes.append(f"reladiff failed: {str(error).strip().rpartition(chr(10))[2]}")
            break
    return found


def table_rows(found: Found) -> Iterator[Row]:
    """The rows of this section."""
    bare, name = statistics.median(found.bare), f"nps, {found.rows:,} rows"
    yield row("fingerprints, the slower side's bare query", name, seconds=bare)
    for what, seconds, goal in (
        ("reconcile, equal", found.equal, EQUAL),
        ("reconcile, three rows differ", found.different, DIFFERENT),
    ):
        taken = statistics.median(seconds)
        yield row(
            what,
            name,
            seconds=taken,
            ratio=taken / bare,
            to="bare query",
            goal=goal,
            peak=found.peak_mb,
        )
    if found.reladiff:
        taken, ours = statistics.median(found.reladiff), statistics.median(found.different)
        yield row("reconcile, three rows differ", name, ratio=ours / taken, to="reladiff", goal=1.0)
        yield row("reladiff, three rows differ", name, seconds=taken)
    wire = statistics.median(found.wire_mb)
    yield row("reconcile, equal: MB over the wire", name, ratio=wire, to="1 MB", goal=WIRE_MB)
    yield row(
        "reconcile, the last seven days",
        f"nps, {found.week_rows:,} rows",
        seconds=statistics.median(found.week),
        ratio=statistics.median(found.week) / WEEK_SECONDS,
        to="1 s",
        goal=1.0,
    )


def _compare(one: RunOne, found: Found, expected: int) -> Measured:
    measured = one("compare", TABLE, "0")
    if measured.result["differ"] != expected:
        raise MeasuredError(f"{measured.result['differ']} rows differ, and {expected} do")
    found.peak_mb = max(found.peak_mb, measured.peak_mb or 0.0)
    return measured


def _drift(servers: BenchServers) -> None:
    """One row deleted for good, one altered in the warehouse, one that came late."""
    with servers.mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM nps WHERE id = 1000")
        cursor.execute(
            "INSERT INTO nps (id, created_at, score) VALUES (%s, %s, 5)",
            (1_000_000_000, f"{YEAR.start.isoformat()} 03:00:00"),
        )
        connection.commit()
    table = f"{SCHEMA}.{TABLE}"
    servers.execute(f"UPDATE {table} SET score = COALESCE(score, 0) + 1 WHERE id = 77777")  # noqa: S608  # ours


def _reladiff(servers: BenchServers) -> float:
    """The seconds that the peer takes for the same, from the same tables."""
    shop, warehouse = servers.mariadb, servers.postgres
    program = (
        "import json, sys, time; from reladiff.__main__ import main\n"
        "begun = time.perf_counter()\n"
        "try: main(sys.argv[1:], standalone_mode=False)\n"
        "finally: print(json.dumps({'seconds': time.perf_counter() - begun}))\n"
    )
    return run(
        [
            *(sys.executable, "-W", "ignore", "-c", program),
            f"mysql://{shop.user}:{quote(shop.password, safe='')}@{shop.host}:{shop.port}"
            f"/{shop.database}",
            "nps",
            f"postgresql://{warehouse.user}:{quote(warehouse.password, safe='')}"
            f"@{warehouse.host}:{warehouse.port}/{warehouse.database}",
            f"{SCHEMA}.{TABLE}",
            *("-k", "id", "-c", "created_at", "-c", "score", "--threads", "4"),
        ],
        servers.folder / "reladiff.log",
        env=servers.env,
        cwd=REPOSITORY,
        timeout_seconds=_RELADIFF_SECONDS,
    ).seconds
