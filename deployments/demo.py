"""`make demo`: the real flows carry a small shop from SQLite to DuckDB, and tell the story.

Everything stays in `.ferry/demo`: the source, part files, the stage, the warehouse and Prefect's
own ephemeral server. It can be run again and again; each time begins anew.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any

FOLDER = Path(".ferry/demo").resolve()

(FOLDER / "tmp").mkdir(parents=True, exist_ok=True)
# Before Prefect is imported: a server of the demo's own, whatever this machine is set up for, and a
# quiet log. Blocks are saved in place of others, which may be those of production.
_LOG_LEVEL = os.environ.get("PREFECT_LOGGING_LEVEL", "ERROR")
for _name in [name for name in os.environ if name.upper().startswith(("PREFECT_", "FERRY_"))]:
    del os.environ[_name]
os.environ.update(
    FERRY_DATA=str(FOLDER),
    FERRY_TABLES=str(Path(__file__).with_name("tables.yaml")),
    TMPDIR=str(FOLDER / "tmp"),
    MPLCONFIGDIR=str(FOLDER / "matplotlib"),
    PREFECT_HOME=str(FOLDER / "prefect"),
    PREFECT_PROFILES_PATH=os.devnull,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="true",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_LOGGING_LEVEL=_LOG_LEVEL,
)
os.chdir(FOLDER)  # Prefect also reads `.env` and TOML files of the folder that it runs in

import duckdb  # noqa: E402  # after the environment is set, like everything that imports Prefect
from prefect.client.schemas.objects import StateType  # noqa: E402
from prefect.settings import PREFECT_API_URL  # noqa: E402

from deployments.local.shop import a_day_passes, make_sqlite  # noqa: E402
from deployments.register import register  # noqa: E402
from deployments.show_summary import draw_summary, summary_lines  # noqa: E402
from flows.backfill_tables import backfill  # noqa: E402
from flows.reconcile_tables import reconcile  # noqa: E402
from flows.sync_all import sync_all  # noqa: E402
from flows.sync_table import sync_table  # noqa: E402

NEXT_DAY = date(2023, 2, 1)
WEEK = (date(2023, 1, 9), date(2023, 1, 16))
TABLES = ("nps", "orders")


def say(text: str = "") -> None:
    """Write one line of the story."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the demo.

    Raises:
        SystemExit: Something is not as the story says, or Prefect would ask another server.
    """
    if PREFECT_API_URL.value():
        sys.exit("Prefect is set up for another Prefect server, where the demo saves no blocks.")
    begun = time.monotonic()
    for leftover in ("source.sqlite", "warehouse.duckdb", "warehouse.duckdb.wal"):
        (FOLDER / leftover).unlink(missing_ok=True)
    shutil.rmtree(FOLDER / "stage", ignore_errors=True)
    (FOLDER / "stage").mkdir()

    say("1. A shop opens: SQLite, in .ferry/demo/source.sqlite")
    make_sqlite(FOLDER / "source.sqlite")
    for table in TABLES:
        say(f"     {table:<8}{_rows_in_source(table):>9,} rows")
    register("embedded")

    say("\n2. The first full copy, into DuckDB: .ferry/demo/warehouse.duckdb, schema raw_data")
    for table in TABLES:
        _show(sync_table(table=table, mode="full"))

    say(f"\n3. {NEXT_DAY:%-d %B %Y} passes in the shop")
    with closing(sqlite3.connect(FOLDER / "source.sqlite")) as shop, shop:
        counts = a_day_passes(shop, NEXT_DAY)
    say(
        f"     {counts.nps_added:,} answers and {counts.orders_added:,} orders added, "
        f"{counts.orders_changed:,} orders changed, {counts.orders_deleted:,} soft-deleted"
    )

    say("\n4. The next morning's run carries exactly those")
    _show_all(sync_all(run_date=NEXT_DAY))

    say("\n5. The same run again changes nothing")
    _show_all(sync_all(run_date=NEXT_DAY))

    corrected = _correct_scores()
    say(
        f"\n6. The shop corrects {corrected:,} scores of January's second week: a backfill carries "
        "it again"
    )
    receipts: Any = backfill(
        table="nps", start_date=WEEK[0], end_date=WEEK[1], reprocess="all", max_concurrency=2
    )
    for receipt in receipts["raw_data.nps"]:
        _show(receipt)

    say("\n7. Every batch left a receipt, written with its rows: ferry.receipts")
    _show_receipts()
    _compare()
    say("\n9. The summary that reads nps followed each change by itself: analytics.nps_summary")
    for line in summary_lines("nps_summary"):
        say(f"     {line}")
    chart = draw_summary("nps_summary", "nps", FOLDER / "nps_summary.svg")
    say(f"     Its chart, also on the runs' pages: .ferry/demo/{chart.name}")
    _drift_and_repair()
    say(f"\nDone in {time.monotonic() - begun:.0f} s. Look around:")
    say(
        '  .venv/bin/python -c "import duckdb; '
        "duckdb.connect('.ferry/demo/warehouse.duckdb').sql('FROM ferry.receipts').show()\""
    )


def _drift_and_repair() -> None:
    """What no run would ever see: found by comparing, repaired, and compared again."""
    with closing(sqlite3.connect(FOLDER / "source.sqlite")) as shop, shop:
        shop.execute("DELETE FROM orders WHERE id = 4711")
        names = [row[1] for row in shop.execute("PRAGMA table_info(orders)")]
        others = ", ".join(name for name in names if name not in ("id", "modified"))
        shop.execute(
            f"INSERT INTO orders (id, modified, {others}) "  # noqa: S608  # names of ours
            f"SELECT 99999, '2023-01-17 03:00:00', {others} FROM orders WHERE id = 1"
        )
    with duckdb.connect(str(FOLDER / "warehouse.duckdb")) as warehouse:
        warehouse.execute("UPDATE raw_data.orders SET amount = amount + 1 WHERE id = 815")
    say(
        "\n10. An order is deleted for good, one commits late with an old time, and somebody"
        " alters\n"
        "    one in the warehouse by hand: no run sees that. reconcile does, and repairs it"
    )
    dates = {"start_date": date(2023, 1, 1), "end_date": date(2023, 2, 2)}
    found: Any = reconcile(table="orders", **dates, return_state=True)
    say(f"     {str(found.message).partition('. To repair')[0]}")
    repaired: Any = reconcile(table="orders", **dates, repair="all", return_state=True)
    for line in str(repaired.message).split("; raw_data", 1)[-1:]:
        say(f"     raw_data{line}")
    if repaired.type is not StateType.COMPLETED:
        sys.exit(1)


def _correct_scores() -> int:
    """Change what no cursor tells of; returns how many rows."""
    with closing(sqlite3.connect(FOLDER / "source.sqlite")) as shop, shop:
        return shop.execute(
            "UPDATE nps SET score = 10 WHERE score = 9 AND created_at >= ? AND created_at < ?",
            [str(day) for day in WEEK],
        ).rowcount


def _show(receipt: Any) -> None:
    say(
        f"     {receipt.table_name:<17}{receipt.window_label:<12}"
        f"{receipt.rows_extracted:>8,} read = {receipt.rows_inserted:,} inserted"
        f" + {receipt.rows_updated:,} updated + {receipt.rows_unchanged:,} unchanged"
    )


def _show_all(receipts: Any) -> None:
    for receipt in receipts.values():
        _show(receipt)


def _rows_in_source(table: str) -> int:
    with closing(sqlite3.connect(FOLDER / "source.sqlite")) as shop:
        return int(shop.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])  # noqa: S608  # ours


def _show_receipts() -> None:
    columns = (
        "table_name",
        "mode",
        "window_label",
        "status",
        "rows_extracted",
        "rows_staged",
        "rows_copied",
        "rows_inserted",
        "rows_updated",
        "rows_deleted",
        "rows_unchanged",
    )
    with duckdb.connect(str(FOLDER / "warehouse.duckdb"), read_only=True) as warehouse:
        rows = warehouse.execute(
            f"SELECT {', '.join(columns)} FROM ferry.receipts ORDER BY finished_at"  # noqa: S608
        ).fetchall()
    heads = [column.removeprefix("rows_").removesuffix("_name") for column in columns]
    table = [heads, *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
    for row in table:
        say(
            "     "
            + "  ".join(
                cell.ljust(width) if i < 4 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
        )


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _compare() -> None:
    """Compare every value of the source with the target; end with an error if one differs."""
    differing = 0
    with (
        closing(sqlite3.connect(FOLDER / "source.sqlite")) as shop,
        duckdb.connect(str(FOLDER / "warehouse.duckdb"), read_only=True) as warehouse,
    ):
        for table in TABLES:
            source = shop.execute(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608  # ours
            names = [column[0] for column in source.description]
            target = warehouse.execute(
                f"SELECT {', '.join(names)} FROM raw_data.{table} ORDER BY id"  # noqa: S608
            )
            pairs = zip_longest(source, target.fetchall(), fillvalue=())
            differing += sum(list(map(_plain, a)) != list(map(_plain, b)) for a, b in pairs)
    say(f"\n8. Source and target compared, value by value: {differing} rows differ")
    if differing:
        sys.exit(1)


def _plain(value: Any) -> object:
    """A value of either database in one form: SQLite has no dates, times or decimals."""
    if isinstance(value, float | Decimal):
        return round(Decimal(value), 2)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date) else value


if __name__ == "__main__":
    main()
