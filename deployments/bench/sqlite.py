"""The embedded route, SQLite through a folder to DuckDB, against the sqlite3 program's own dump.

It needs none of the servers of `servers.py` but Prefect's, so it is measured by itself.
"""

from __future__ import annotations

import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from blocks.sources import SQLiteSource
from blocks.stages import FolderStage
from blocks.warehouses import DuckDBWarehouse
from deployments.bench import page, table
from deployments.bench.backfill import AT_ONCE
from deployments.bench.measured import Measured, MeasuredError, run
from deployments.bench.servers import READERS, REPOSITORY, YEAR
from deployments.bench.table import Results, Row, row
from deployments.local import shop
from deployments.local.servers import PrefectServer
from deployments.local.servers.prefect_server import without_settings
from deployments.register import register_guards

ROWS, QUICK_ROWS = 1_500_000, 150_000
TABLE, SOURCE = "nps_sqlite", "bench-sqlite"

EXTRACT = 3.0
"""At most so many times the dump."""


@dataclass
class Found:
    """What was measured, a value for each round.

    Attributes:
        rows: How many the table has.
        dump: The sqlite3 program writes it as CSV.
        extract: The task alone, all of the table.
        whole: The whole path, the year as one window.
        days: The year as days, by the flow `backfill`.
    """

    rows: int
    dump: list[float] = field(default_factory=list)
    extract: list[Measured] = field(default_factory=list)
    whole: list[Measured] = field(default_factory=list)
    days: list[Measured] = field(default_factory=list)


def main(rounds: int, quick: bool, to_page: Path | None) -> None:
    """Measure this section alone, print its table, and write it into a page if told to."""
    with tempfile.TemporaryDirectory(prefix="ferry-bench-") as name:
        found = _measure(Path(name), rounds, QUICK_ROWS if quick else ROWS)
    lines = table.lines(Results({}, section=list(table_rows(found))))
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    if to_page:
        page.write(to_page, lines, f"make bench ARGS='{shlex.join(sys.argv[1:])}'", "sqlite")


def _measure(folder: Path, rounds: int, rows: int) -> Found:
    """Make the shop, and let floor and ours take turns.

    Raises:
        MeasuredError: A run failed, or carried other rows than there are.
    """
    found = Found(rows)
    shop.make_sqlite(folder / "shop.sqlite", nps_rows=rows, orders_rows=1000, span=YEAR)
    with PrefectServer.start(folder / "prefect") as prefect:
        with temporary_settings(
            {PREFECT_API_URL: prefect.api_url, PREFECT_API_AUTH_STRING: prefect.auth_string}
        ):
            _register(folder)
        env = without_settings(os.environ) | prefect.client_env
        env |= {"FERRY_TABLES": str(_write_specs(folder)), "FERRY_DATA": str(folder / "data")}
        env |= {"TMPDIR": str(folder / "tmp"), "DO_NOT_TRACK": "1"}

        def one(*arguments: str) -> Measured:
            for target in folder.glob("warehouse.duckdb*"):
                target.unlink()
            command = [sys.executable, "-m", "deployments.bench.one", *arguments]
            measured = run(command, folder / "one.log", env=env, cwd=REPOSITORY)
            if measured.result["rows"] != rows:
                raise MeasuredError(f"{arguments[0]} carried {measured.result['rows']} rows")
            return measured

        end = YEAR.start.replace(year=YEAR.start.year + 1)
        for _ in range(rounds):
            found.dump.append(_dump(folder))
            found.extract.append(one("extract", TABLE))
            found.whole.append(one("whole-path", TABLE, "window"))
            found.days.append(
                one("backfill", TABLE, YEAR.start.isoformat(), end.isoformat(), "day", str(AT_ONCE))
            )
    return found


def table_rows(found: Found) -> Iterator[Row]:
    """The rows of this section."""
    name = f"nps, {found.rows:,} rows"
    dump, whole = statistics.median(found.dump), _seconds(found.whole)
    yield row("the sqlite3 program's dump", name, seconds=dump)
    yield row(
        "extract",
        name,
        seconds=_seconds(found.extract),
        ratio=_seconds(found.extract) / dump,
        to="dump",
        goal=EXTRACT,
        peak=_peak(found.extract),
    )
    yield row(
        "whole path to DuckDB, upsert",
        name,
        seconds=whole,
        ratio=whole / dump,
        to="dump",
        peak=_peak(found.whole),
    )
    yield row(
        f"a year as {YEAR.days} days",
        name,
        seconds=_seconds(found.days),
        ratio=_seconds(found.days) / whole,
        to="one window",
        peak=_peak(found.days),
    )


def _seconds(runs: list[Measured]) -> float:
    return statistics.median(each.seconds for each in runs)


def _peak(runs: list[Measured]) -> float | None:
    return max((each.peak_mb for each in runs if each.peak_mb), default=None)


def _dump(folder: Path) -> float:
    """The seconds that `SELECT *` takes the program, as CSV into a file."""
    program = shutil.which("sqlite3")
    if program is None:
        raise MeasuredError("there is no sqlite3 program: install SQLite's shell")
    with (folder / "dump.csv").open("wb") as output:
        begun = time.perf_counter()
        command = [program, str(folder / "shop.sqlite"), "-csv", "SELECT * FROM nps"]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, check=True)
        return time.perf_counter() - begun


def _register(folder: Path) -> None:
    for name in ("stage", "tmp", "data"):
        (folder / name).mkdir()
    SQLiteSource(path=str(folder / "shop.sqlite")).save(SOURCE, overwrite=True)
    FolderStage(path=folder / "stage").save("bench-folder", overwrite=True)
    DuckDBWarehouse(path=folder / "warehouse.duckdb").save("bench-duckdb", overwrite=True)
    register_guards([SOURCE], READERS)


def _write_specs(folder: Path) -> Path:
    spec = {
        **{"source": SOURCE, "stage": "bench-folder", "warehouse": "bench-duckdb"},
        **{"source_table": "nps", "schema": "bench", "mode": "window"},
        **{"cursor": "created_at", "key": ["id"]},
    }
    file = folder / "tables.yaml"
    file.write_text(yaml.safe_dump({"tables": {TABLE: spec}}))
    return file
