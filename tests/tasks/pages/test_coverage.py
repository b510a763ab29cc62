"""The page of a table: its totals, what is not loaded and why, and what repairs it."""

import re
import shlex
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ferry.audits.outcome import Audit
from ferry.backfills.plan import plan_windows
from ferry.coverage.days import DayAudit
from ferry.coverage.standings import coverage_of
from ferry.day_ranges import DayRange, split_days
from ferry.windows import day_window
from tasks.landed.carried_otherwise import command_for
from tasks.pages.audit import command_line
from tasks.pages.coverage import overview_page, table_page
from tests.harness.told_days import LATER, NOW, failure, loaded, receipt, spec, tell

DAYS = loaded(date(2023, 2, 27), date(2023, 2, 28), date(2023, 3, 2))


def test_it_says_what_is_not_loaded_and_why() -> None:
    failed = (failure(date(2023, 2, 27), "no | pipe,\n\nno <tag>, " + 300 * "z"),)
    page = table_page(tell(spec(start_date=date(2023, 2, 22)), *DAYS, failed=failed))
    assert "**2 loaded, 1 failed, 7 missing** of 10 days, 2023-02-22 to 2023-03-03 (UTC)" in page
    assert page.count("\nFeb 2023  ") == page.count("\nMar 2023  ") == 1
    lines = [line for line in page.splitlines() if line.startswith("| 2023")]
    assert lines[0] == "| 2023-03-03 | 1 | missing | no run has carried it |"
    assert lines[2].startswith(
        r"| 2023-02-27 | 1 | failed | AccessError: no \| pipe, no \<tag\>, zzz"
    )
    assert len(lines[2]) < 350
    assert lines[3] == "| 2023-02-22 to 2023-02-26 | 5 | missing | no run has carried it |"


def test_it_says_what_repairs_it() -> None:
    told = tell(spec(), *DAYS, zone="UTC")
    assert table_page(told).endswith(
        "prefect deployment run 'backfill/on-demand' \\\n"
        "    --param table=nps --param start_date=2023-03-01 \\\n"
        "    --param end_date=2023-03-04 --param zone=UTC \\\n"
        "    --param reprocess=missing\n```\n"
    )
    keyless = tell(spec(mode="watermark", key=[]), failed=(failure(date(2023, 3, 1)),))
    assert table_page(keyless).endswith("'sync-table/on-demand' \\\n    --param table=nps\n```\n")
    whole = table_page(tell(spec(), *loaded(date(2023, 3, 3))))
    assert "Nothing is missing" in whole
    assert "prefect deployment run" not in whole


def test_of_a_table_carried_by_the_hour_it_repairs_the_hours_that_are_not_loaded() -> None:
    table, range_ = spec(every="hour"), DayRange(date(2023, 3, 1), date(2023, 3, 4), "UTC")
    hours = split_days(range_, "hour")
    landed = [receipt(hour) for hour in hours[:30] + hours[31:]]
    page = table_page(tell(table, *landed))
    given = dict(re.findall(r"--param (\w+)=(\S+)", page))
    assert (given["start_date"], given["end_date"]) == ("2023-03-02", "2023-03-03")
    assert "This carries them all, and nothing that is loaded:" in page
    cut: Any = given["granularity"]
    planned = plan_windows(split_days(range_, cut), coverage_of(landed, []), "missing")
    assert [each.window for each in planned if not each.skipped] == [hours[30]]


@pytest.mark.parametrize(
    "fields",
    [{"start_date": date(2020, 1, 1)}, {"mode": "watermark", "start_date": date(2023, 3, 1)}],
)
def test_hours_that_a_backfill_does_not_take_are_repaired_in_whole_days(
    fields: dict[str, Any],
) -> None:
    page = table_page(tell(spec(every="hour", **fields)))
    assert "nothing that is loaded" not in page
    assert "This carries them all, as whole days:" in page
    assert "granularity" not in page


def test_the_page_of_all_tables_says_of_how_many_days_each_has_drifted() -> None:
    day = day_window(date(2023, 3, 1))
    audits = {(day.start, day.end): DayAudit(LATER, "1 changed")}
    told = tell(spec(), receipt(day, NOW), audits=audits, now=NOW - timedelta(days=2))
    head, _, line, untold, _ = overview_page([told.totals], {"raw_data.b": "lost"}).split("\n")
    assert head == "| table | days | loaded | missing | failed | drifted | newest gap |"
    assert line.endswith(" | 2023-03-01 to 2023-03-01 | 0 | 0 | 0 | 1 |  |")
    dayless = overview_page([tell(spec(mode="full")).totals], {}).splitlines()[2]
    assert [each.count("|") for each in (untold, dayless)] == [head.count("|")] * 2


@pytest.mark.parametrize("name", ["all", "true", "old$copy"])
def test_what_repairs_a_table_of_such_a_name_repairs_no_other(name: str) -> None:
    """`table=all` is every table; `true` and `$copy` are no text to Prefect or a shell."""
    table, day = spec(name=name), date(2023, 3, 1)
    commands = [
        table_page(tell(table, *DAYS)),
        table_page(tell(spec(name=name, mode="watermark", key=[]), failed=(failure(day),))),
        command_line(table, Audit(str(table.target), datetime.now(UTC), ())),
        command_for(table, day_window(day)),
    ]
    for command in commands:
        (written,) = re.findall(r"table=\S+", command)
        asked = name if "$" in name else f"raw_data.{name}"
        assert shlex.split(written) == [f"table={asked}"]
