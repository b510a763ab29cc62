"""Readers of one source wait for one another, over all processes."""

from __future__ import annotations

import select
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, cast

from prefect.client.orchestration import get_client

from blocks.source import Source
from deployments.reader_limits import register_limits
from ferry.batch import ExtractQuery
from ferry.schema import TableName, TableSchema
from ferry.specs.tables_file import parse_table_specs
from tasks.landed.uncarried import refuse_uncarried
from tasks.places.readers import (
    backfill_limit,
    more_places,
    place_among_readers,
    readers_limit,
)
from tests.harness.api import eventually

ROOT = Path(__file__).parents[3]

SPECS = """
defaults: {{source: {}, stage: lake, warehouse: w, schema: raw}}
tables: {{sales: {{mode: window, key: [id]}}}}
"""

HOLD = """
import sys
from prefect import flow
from tasks.places.readers import place_among_readers

@flow
def hold(source, backfill):
    print("begun", flush=True)
    with place_among_readers(source, backfill=backfill):
        print("held", flush=True)
        sys.stdin.readline()

hold(sys.argv[1], sys.argv[2] == "backfill")
"""


class Reader(subprocess.Popen[bytes]):
    """A process that says when it has begun, and holds a place until it is told to go."""

    def __init__(self, source: str, kind: str) -> None:
        super().__init__(
            [sys.executable, "-c", HOLD, source, kind],
            bufsize=0,  # so that what is not read yet can be waited for
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.stdout is not None
        self.said = self.stdout

    def begins(self) -> bool:
        return self.said.readline() == b"begun\n"

    def holds(self, within_seconds: float = 60) -> bool:
        """Whether it comes to hold its place in this time."""
        there, _, _ = select.select([self.said], [], [], within_seconds)
        return bool(there) and self.said.readline() == b"held\n"

    def goes(self) -> int:
        self.communicate(b"\n")
        return self.returncode


def active(name: str) -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name).active_slots


def test_a_backfill_waits_for_another_one_and_leaves_a_place_to_the_daily_run(
    prefect_server: Any,
) -> None:
    source = f"s-{uuid.uuid4().hex[:8]}"
    everyone, backfills = readers_limit(source), backfill_limit(source)
    assert register_limits(source, 2) == [everyone, backfills]
    register_limits(source, 2)  # safe to repeat
    with Reader(source, "backfill") as first:
        assert first.begins() and first.holds()
        with Reader(source, "backfill") as second, Reader(source, "daily") as daily:
            assert daily.begins() and daily.holds()
            assert second.begins() and not second.holds(within_seconds=0.5)
            assert (active(everyone), active(backfills)) == (2, 1)
            assert daily.goes() == 0
            assert first.goes() == 0
            assert second.holds()
            assert second.goes() == 0
    assert eventually(lambda: active(everyone) == 0)


def test_a_read_takes_more_places_as_far_as_they_are_free(prefect_server: Any) -> None:
    source = f"s-{uuid.uuid4().hex[:8]}"
    register_limits(source, 4)
    with (
        Reader(source, "daily") as other,
        place_among_readers(source, backfill=False),
        more_places(source, 1, backfill=False),
    ):
        assert other.begins() and other.holds()
        with more_places(source, 5, backfill=False) as more:
            assert more.count == 1
            assert active(readers_limit(source)) == 4
        assert other.goes() == 0
    assert eventually(lambda: active(readers_limit(source)) == 0)


def test_looking_for_rows_that_no_window_takes_is_reading_too(prefect_server: Any) -> None:
    source = f"s-{uuid.uuid4().hex[:8]}"
    register_limits(source, 2)
    seen = []

    class Shop:
        def count_uncarried(self, table: object, cursor: str, reach: object) -> int:
            seen.append((active(readers_limit(source)), active(backfill_limit(source))))
            return 0

    spec = parse_table_specs(SPECS.format(source), "tables.yaml").named("sales")
    query = ExtractQuery(TableSchema(TableName("shop", "sales"), ()), cursor="modified")
    refuse_uncarried(spec, query, cast("Source", Shop()))
    assert eventually(lambda: active(readers_limit(source)) == 0)
    refuse_uncarried(spec, query, cast("Source", Shop()), backfill=True)
    assert seen == [(1, 0), (1, 1)]


def test_a_source_without_a_limit_is_read_without_one(prefect_server: Any) -> None:
    with Reader("s-none", "backfill") as alone:
        assert alone.begins() and alone.holds()
        assert alone.goes() == 0
