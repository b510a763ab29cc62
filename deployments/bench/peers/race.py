"""The whole path to PostgreSQL, in turn with the tools that carry the same tables there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.bench import floor
from deployments.bench.measured import Measured, MeasuredError
from deployments.bench.peer import PeerError
from deployments.bench.peers.tools import PEERS, Peer, Tool, carry, make_environment, versions
from deployments.bench.servers import SCHEMA, BenchServers
from deployments.bench.table import Row, Samples, row

AIM = 0.33
"""At most so many times the fastest peer."""

BESIDE = "beside the peers"
OURS = "whole path to PostgreSQL, full"
ADDED = {"nps": "score", "orders": "amount"}
"""The column whose values are added up on both sides, of each table."""

RunOne = Callable[..., Measured]


@dataclass
class Found:
    """What was measured.

    Attributes:
        rows: How many each table has.
        dump: By table.
        load: By table.
        ours: By table.
        peers: By the peer's name and table; without those that could not be measured.
        notes: Lines to print below the table.
    """

    rows: Mapping[str, int]
    dump: dict[str, Samples] = field(default_factory=dict)
    load: dict[str, Samples] = field(default_factory=dict)
    ours: dict[str, Samples] = field(default_factory=dict)
    peers: dict[tuple[str, str], Samples] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def floor(self, table: str) -> float:
        """The seconds of the dump and of its COPY."""
        return self.dump[table].median + self.load[table].median

    def fastest(self, table: str) -> tuple[str, float] | None:
        """The peer that took the least time for the table, and its seconds."""
        taken = {name: each.median for (name, of), each in self.peers.items() if of == table}
        return min(taken.items(), key=lambda each: each[1], default=None)


def measure(
    servers: BenchServers,
    one: RunOne,
    rows: Mapping[str, int],
    rounds: int,
    say: Callable[[str], None],
) -> Found:
    """Install the tools, and carry both tables by the floor, by ours, and by each of them.

    A peer that cannot be installed, fails, or carries other values is left out; a note says so.

    Raises:
        MeasuredError: Ours failed, or carried other values.
        FloorError: A client failed.
    """
    found = Found({table: rows[table] for table in ADDED})
    pythons = _install(servers.folder, found, say)
    running = [each for each in PEERS if each.tool.name in pythons]
    for number in range(1, rounds + 1):
        for table in ADDED:
            say(f"{BESIDE}, round {number} of {rounds}, {table}")
            _measure_floor(servers, found, table)
            servers.empty_targets()
            ours = one("whole-path", f"{table}_postgres", "full")
            _check(servers, table, f"{table}_postgres")
            found.ours.setdefault(table, Samples()).add(ours.seconds, ours.peak_mb)
            for each in list(running):
                try:
                    theirs = _measure_peer(each, pythons[each.tool.name], servers, table)
                except MeasuredError as error:
                    running.remove(each)
                    reason = str(error).strip().rpartition("\n")[2]
                    found.notes.append(f"{each.name} failed with {table}: {reason}")
                else:
                    samples = found.peers.setdefault((each.name, table), Samples())
                    samples.add(theirs.seconds, theirs.peak_mb)
    return found


def table_rows(found: Found) -> Iterator[Row]:
    """The rows of this section."""
    for table, rows in found.rows.items():
        name, least = f"{table}, {rows:,} rows", found.floor(table)
        yield row(f"{BESIDE}: the client's dump", name, seconds=found.dump[table].median)
        yield row(f"{BESIDE}: COPY of the dump", name, seconds=found.load[table].median)
        measured = {f"{BESIDE}: {OURS}": found.ours[table]} | {
            each.name: found.peers[each.name, table]
            for each in PEERS
            if (each.name, table) in found.peers
        }
        for what, samples in measured.items():
            yield row(
                what,
                name,
                seconds=samples.median,
                ratio=samples.median / least,
                to="dump + COPY",
                peak=samples.peak_mb,
            )
        if fastest := found.fastest(table):
            yield row(
                f"{OURS}, to the fastest peer",
                name,
                ratio=found.ours[table].median / fastest[1],
                to=fastest[0],
                goal=AIM,
            )


def _install(folder: Path, found: Found, say: Callable[[str], None]) -> dict[str, Path]:
    """The Python of each tool that could be installed."""
    pythons: dict[str, Path] = {}
    tools: dict[str, Tool] = {each.tool.name: each.tool for each in PEERS}
    for name, tool in tools.items():
        say(f"making a virtual environment with {name}")
        try:
            pythons[name] = make_environment(tool, folder)
        except PeerError as error:
            found.notes.append(f"{name} could not be installed here: {error}.")
        else:
            found.notes.append(f"A peer is {versions(tool, pythons[name])}.")
    return pythons


def _measure_floor(servers: BenchServers, found: Found, table: str) -> None:
    found.dump.setdefault(table, Samples()).add(floor.dump(servers, table))
    if not floor.loadable(servers, table).exists():
        floor.make_loadable(servers, table)
    found.load.setdefault(table, Samples()).add(floor.load(servers, table))


def _measure_peer(each: Peer, python: Path, servers: BenchServers, table: str) -> Measured:
    servers.empty_targets()
    measured = carry(each, python, servers, table)
    _check(servers, table, table)
    return measured


def _check(servers: BenchServers, table: str, target: str) -> None:
    """See that the target has the source's rows, and that a column adds up to the same.

    Raises:
        MeasuredError: It has not.
    """
    looked_at = f"SELECT COUNT(*), SUM({ADDED[table]}) FROM "  # noqa: S608  # ours
    with servers.mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute(looked_at + table)
        expected: tuple[Any, ...] | None = cursor.fetchone()
    (found,) = servers.fetch(f"{looked_at}{SCHEMA}.{target}", [])
    if found != expected:
        raise MeasuredError(f"{target} has {found}, and {expected} were to be carried")
