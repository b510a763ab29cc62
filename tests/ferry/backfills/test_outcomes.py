"""However many windows fail, the reason is told, from when to when, and how many."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from ferry.backfills.outcomes import NOT_BEGUN, Outcome, failed_lines
from ferry.runs.notice import FailedRun, failure_notice
from ferry.windows import Window, day_window

TABLE = "raw_data.nps"
FIRST = date(2020, 1, 1)
WHY = "FERRY-DATA: upsert raw_data.nps {}: rows without a full key (id). Choose another key."


def failed(number: int, reason: str = WHY, table: str = TABLE) -> Outcome:
    window = day_window(FIRST + timedelta(days=number))
    return Outcome(table, window, reason=reason.format(window.label))


def hour(number: int) -> Window:
    start = datetime(2023, 1, 5, tzinfo=UTC) + timedelta(hours=number)
    return Window(start, start + timedelta(hours=1))


def test_a_thousand_windows_that_fail_for_one_reason_are_one_line() -> None:
    (line,) = failed_lines(failed(number) for number in range(1_000))
    assert line == f"{TABLE}: 1,000 windows failed, 2020-01-01 to 2022-09-26: {WHY.format('…')}"


@pytest.mark.parametrize("windows", [1, 2, 80, 1_000, 20_000])
def test_the_message_has_the_reason_however_many_windows_failed(windows: int) -> None:
    every_other = [failed(2 * number) for number in range(windows)]
    run = FailedRun(
        "backfill nps", "backfill", "Failed", "\n".join(failed_lines(every_other)), {}, None, ""
    )
    body = failure_notice(run).body
    assert "rows without a full key (id). Choose another key." in body
    assert f"{windows:,} window" in body
    assert len(body) < 500


@pytest.mark.parametrize(
    ("numbers", "when"),
    [
        ([3], "1 window failed, 2020-01-04: "),
        ([4, 3], "2 windows failed, 2020-01-04 to 2020-01-05: "),
        ([0, 1, 9], "3 windows failed, 2020-01-01 to 2020-01-02, 2020-01-10: "),
        ([0, 2, 4, 6, 8], "5 windows failed, between 2020-01-01 and 2020-01-09: "),
    ],
)
def test_neighbours_are_a_range_and_of_many_stretches_the_ends_are_told(
    numbers: list[int], when: str
) -> None:
    (line,) = failed_lines(map(failed, numbers))
    assert line.startswith(f"{TABLE}: {when}FERRY-DATA")


def test_hours_are_told_as_hours() -> None:
    (line,) = failed_lines(Outcome(TABLE, hour(number), reason="why") for number in (3, 4))
    assert "2 windows failed, 2023-01-05T03:00+00:00/2023-01-05T05:00+00:00: why" in line


def test_several_reasons_have_a_line_each_the_most_frequent_first() -> None:
    lines = failed_lines(
        [
            failed(0, "SchemaError: extract {}: no table"),
            *(failed(number) for number in range(1, 4)),
            failed(5, "AccessError: {}: password", "raw_data.orders"),
            failed(6, "AccessError: {}: password", "raw_data.orders"),
        ]
    )
    assert [line.split(" failed")[0] for line in lines] == [
        f"{TABLE}: 3 windows",
        "raw_data.orders: 2 windows",
        f"{TABLE}: 1 window",
    ]


def test_what_differs_from_window_to_window_does_not_make_another_reason() -> None:
    reasons = [
        "CountMismatchError: copy {}: expected 1,204 rows; found 3 rows of batch 0a1b2c3d4e5f",
        "CountMismatchError: copy {}: expected 98 rows; found 97 rows of batch 99aa77bb66cc",
    ]
    (line,) = failed_lines(failed(number, reasons[number % 2]) for number in range(10))
    assert "10 windows failed, 2020-01-01 to 2020-01-10: CountMismatchError" in line
    assert "expected 1,204 rows; found 3 rows" in line
    crashed = "Crashed run carry nps 2020-01-{:02} to 2020-01-{:02}: Process exited with code: -9"
    ends = [crashed.format(1 + n // 4 * 4, 4 + n // 4 * 4) for n in range(8)]
    (line,) = failed_lines(failed(n, end) for n, end in enumerate(ends))
    assert "8 windows failed, 2020-01-01 to 2020-01-08: Crashed run carry nps" in line
    others = ["refused: HTTP 401", "refused: HTTP 503", "error 1045 (28000)", "error 2003 (HY000)"]
    assert len(failed_lines(failed(n, reason) for n, reason in enumerate(others))) == 4


def test_what_follows_from_another_failure_is_told_after_it() -> None:
    left = Outcome(TABLE, None, reason=f"{TABLE}: 7 more windows are left to the next run")
    lines = failed_lines(
        [left, *(replace(failed(n, NOT_BEGUN), begun=False) for n in range(9)), failed(10)]
    )
    assert "FERRY-DATA" in lines[0]
    assert lines[1] == left.reason
    assert lines[2].startswith(f"{TABLE}: 9 windows failed") and lines[2].endswith(NOT_BEGUN)


def test_of_many_reasons_the_first_are_told_and_the_others_counted() -> None:
    lines = failed_lines((failed(n, f"reason{n}") for n in range(25)), limit=10)
    assert len(lines) == 11
    assert lines[-1] == "and 15 more reasons"
