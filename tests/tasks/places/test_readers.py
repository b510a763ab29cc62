"""Readers of one source wait for one another, over all processes."""

from __future__ import annotations

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
from ferry.specs.tables import parse_table_specs
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
    with place_among_readers(source, backfill=backfill):
        print("held", flush=True)
        sys.stdin.readline()

hold(sys.argv[1], sys.argv[2] == "backfill")
"""


def reader(source: str, kind: str) -> subprocess.Popen[str]:
    """A process that holds a place until it is told to go."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, source, kind],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


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
    with reader(source, "backfill") as first:
        assert eventually(lambda: active(backfills) == 1, 60)
        with reader(source, "backfill") as second, reader(source, "daily") as daily:
            assert daily.stdout and daily.stdout.readline() == "held\n"
            assert (active(everyone), active(backfills)) == (2, 1)
            daily.communicate("\n")
            first.communicate("\n")
            assert second.stdout and second.stdout.readline() == "held\n"
            second.communicate("\n")
    assert eventually(lambda: active(everyone) == 0)
    assert [p.returncode for p in (first, second, daily)] == [0, 0, 0]


def test_a_read_takes_more_places_as_far_as_they_are_free(prefect_server: Any) -> None:
    source = f"s-{uuid.uuid4().hex[:8]}"
    register_limits(source, 4)
    with (
        reader(source, "daily") as other,
        place_among_readers(source, backfill=False),
        more_places(source, 1, backfill=False),
    ):
        assert other.stdout and other.stdout.readline() == "held\n"
        with more_places(source, 5, backfill=False) as more:
            assert more.count == 1
            assert active(readers_limit(source)) == 4
        other.communicate("\n")
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
    with reader("s-none", "backfill") as alone:
        assert alone.communicate("\n")[0] == "held\n"
    assert alone.returncode == 0
