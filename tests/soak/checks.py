"""What has to be true when a soak is over, asked of the servers themselves."""

from __future__ import annotations

import fcntl
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.soak.notices import check_notices
from tests.soak.record import flow_names, open_runs
from tests.soak.servers import Servers, until
from tests.soak.tables import FIRST_DAY, FIRST_HOUR, SCHEMA, TABLES, TODAY
from tests.soak.verdict import Check, first
from tests.soak.writer import Writer

WINDOWS = ("orders", "visits", "clicks")
WHOLE = {"ledger": timedelta(), "users": timedelta(seconds=60)}
"""Tables that are told as a whole, and how long before its read a row was certainly committed: a
watermark's receipt takes off its `lag` itself."""

COLUMNS = "id, version, note, amount, modified"
GIVEN_BACK_SECONDS = 240.0
"""A lease that nobody renews ends by then."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)

Span = tuple[datetime, datetime]


def check_all(
    servers: Servers, writer: Writer, messages: Sequence[str], claims: list[Check]
) -> list[Check]:
    """All that has to hold, in the order in which a person would ask."""
    return [
        *claims,
        *(_same_rows(servers, table, writer) for table in TABLES),
        _covered(servers, "visits", FIRST_DAY),
        _covered(servers, "clicks", FIRST_HOUR),
        _nothing_open(servers),
        _no_place_held(servers),
        *check_notices(servers, messages),
        _no_parts_left(servers),
        _staging_tables(servers),
    ]


def what_is_claimed(servers: Servers) -> list[Check]:
    """Whether every row is there that the receipts say has been loaded."""
    checks = []
    for table in (*WINDOWS, *WHOLE):
        spans = _loaded(servers, table)
        if table in WHOLE:  # whatever was committed before
            until_ = max((to for _, to in spans), default=TODAY)
            spans = [(LONG_AGO, until_ - WHOLE[table])]
        starts = [start for start, _ in spans]
        target = {row[0]: row for row in _target(servers, table)}
        missing, covered = [], 0
        for row in _source(servers, table):
            at = row[4].replace(tzinfo=UTC)
            place = bisect_right(starts, at) - 1
            if place >= 0 and at < spans[place][1]:
                covered += 1
                if target.get(row[0]) != row:
                    missing.append(f"{row[0]} of {at}")
        told = f"{covered:,} rows in {len(spans):,} stretches of time; {first(missing)}"
        checks.append(
            Check(f"{table}: what its receipts say is loaded is there", not missing, told)
        )
    return checks


def _loaded(servers: Servers, table: str) -> list[Span]:
    """The stretches of time that receipts say are loaded, joined where they touch."""
    found = servers.ask_warehouse(
        "SELECT window_start, window_end, complete_until FROM ferry.receipts "
        f"WHERE table_name = '{SCHEMA}.{table}' AND status = 'loaded'"
    )
    spans: list[Span] = []
    for start, end, until_ in found:
        begins = start or LONG_AGO
        ends = [moment for moment in (end, until_) if moment is not None]
        spans.append((begins, min(ends)))
    joined: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _source(servers: Servers, table: str) -> list[tuple[Any, ...]]:
    with servers.source() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS} FROM {table} ORDER BY id")
        return [tuple(row) for row in cursor.fetchall()]


def _target(servers: Servers, table: str) -> list[tuple[Any, ...]]:
    found = servers.ask_warehouse(f"SELECT {COLUMNS} FROM {SCHEMA}.{table} ORDER BY id")
    return [(*row[:4], row[4].replace(tzinfo=None)) for row in found]


def _same_rows(servers: Servers, table: str, writer: Writer) -> Check:
    source, target = _source(servers, table), _target(servers, table)
    doubled = [row for row, times in Counter(row[0] for row in target).items() if times > 1]
    differ = sorted({row[0] for row in set(source) ^ set(target)})
    versions = {row[0]: row[1] for row in source}
    lost = [row for row, known in writer.versions[table].items() if versions.get(row, 0) < known]
    told = (
        f"{len(source):,} rows; differ: {first(differ)}; doubled: {first(doubled)}; "
        f"acknowledged and not in the source: {first(lost)}"
    )
    return Check(f"{table}: target and source are the same", not (differ or doubled or lost), told)


def _covered(servers: Servers, table: str, begins: datetime) -> Check:
    spans = _loaded(servers, table)
    holds = any(start <= begins and end >= TODAY for start, end in spans)
    told = ", ".join(f"{start:%F %H:%M} to {end:%F %H:%M}" for start, end in spans[:4])
    return Check(f"{table}: every day is loaded, by the receipts", holds, told)


def _nothing_open(servers: Servers) -> Check:
    names = flow_names(servers)
    left = [f"{names[each.flow_id]} {each.name} {each.state_name}" for each in open_runs(servers)]
    return Check("no run is open", not left, first(left))


def _no_place_held(servers: Servers) -> Check:
    def held() -> list[str]:
        with servers.client as client:
            limits = client.read_global_concurrency_limits(limit=200)
        return [f"{each.name}: {each.active_slots}" for each in limits if each.active_slots]

    until(lambda: not held(), GIVEN_BACK_SECONDS)
    return Check("no place is held", not held(), first(held()))


def _no_parts_left(servers: Servers) -> Check:
    """Part files of processes that are gone: whoever lives holds a lock."""
    left = []
    for folder in (servers.folder / "tmp").glob("ferry-private-*/on-*"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.append(folder.name)
            finally:
                os.close(descriptor)
    return Check("no part file is left of a process that is gone", not left, first(left))


def _staging_tables(servers: Servers) -> Check:
    """How many killed runs have left: they stay for seven days, so it is only counted."""
    found = servers.ask_warehouse(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = 'ferry' AND table_name LIKE 'stg%'"
    )
    return Check(
        "staging tables of killed runs, dropped after a week", holds=None, told=f"{len(found):,}"
    )
