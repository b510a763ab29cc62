"""The calendar: a sign for each day, where it belongs."""

from datetime import date

from ferry.coverage.calendar import calendar
from tests.harness.told_days import failure, loaded, since, spec, tell

DAYS = loaded(*since(date(2021, 12, 30), date(2023, 2, 28)))


def test_there_is_a_sign_for_each_day_and_the_newest_month_comes_first() -> None:
    told = tell(spec(start_date=date(2021, 12, 30)), *DAYS, failed=(failure(date(2023, 3, 1)),))
    lines = calendar(told).splitlines()
    assert lines[:2] == [
        "# loaded   X failed   o missing   - not over yet",
        "\u00b7 before the first day, or not asked for",
    ]
    assert lines[3:] == [
        "          1         6         11        16        21        26        31",
        "Mar 2023  X o o " + " ".join("-" * 28),
        "Feb 2023  " + " ".join("#" * 28),
        "Jan 2023  " + " ".join("#" * 31),
        "",
        "2022      all 365 days loaded",
        "",
        "2021      all 2 days loaded",
    ]
    assert lines[3].index("31") == lines[4].rindex("-")


def test_a_year_in_which_a_day_is_missing_is_shown() -> None:
    shown = calendar(tell(spec(start_date=date(2021, 12, 29)), *DAYS))
    assert "Dec 2021  " + "\u00b7 " * 28 + "o # #" in shown
    assert "2022      all 365 days loaded" in shown


def test_days_that_were_not_asked_for_are_left_blank() -> None:
    asked = tell(spec(), *DAYS).within(date(2023, 2, 3), date(2023, 2, 5))
    assert "Feb 2023  \u00b7 \u00b7 # #" + " \u00b7" * 24 in calendar(asked)
