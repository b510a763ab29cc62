from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from pydantic import TypeAdapter

from ferry.schema import TableName
from ferry.summaries.check_specs import Check
from ferry.summaries.check_subject import Subject
from ferry.summaries.checks import CheckResult, built_in, judged, question
from ferry.summaries.partitions import EVERYTHING, Span
from tests.harness.write_engine import REDSHIFTS_SQL, run

DAY = Span(datetime(2023, 1, 5), datetime(2023, 1, 6))
INFINITE, NO_NUMBER = float("inf"), float("nan")
LATER = Span(datetime(2023, 1, 9), datetime(2023, 1, 10))


def subject(*spans: Span, published: bool = True) -> Subject:
    return Subject(
        target=TableName("s", "t"),
        columns=("day", "n"),
        built=TableName("ferry", "aside"),
        published=published,
        spans=spans or (EVERYTHING,),
        partition="day",
        reads={"raw.x": "created_at", "raw.y": None},
    )


def ask(given: dict[str, Any], about: Subject | None = None, side: Any = "output_check") -> Any:
    check = TypeAdapter(Check).validate_python(given)
    return question(check, side, about or subject(), REDSHIFTS_SQL)


def answer(given: dict[str, Any], *rows: Any) -> CheckResult:
    return judged(ask(given), [list(each) for each in rows])


@pytest.mark.parametrize(
    ("given", "found", "passed", "told"),
    [
        ({"count": 3}, 3, True, "at least 3"),
        ({"count": 3}, 2, False, "at least 3"),
        ({"count": 0}, None, False, "at least 0"),
        ({"equals": 3}, Decimal("3.00"), True, "just 3"),
        ({"equals": 3}, 4, False, "just 3"),
        ({"equals": 0.1}, Decimal("0.1"), True, "just 0.1"),
        ({"equals": 0}, None, False, "just 0"),
        ({"min": 1, "max": 2}, 1.5, True, "1 to 2"),
        ({"min": 1, "max": 2}, 2.5, False, "1 to 2"),
        ({"count": 1, "min": 100_000}, 5, False, "at least 100000"),
        ({"count": 1, "min": 0.5}, 1, True, "at least 1"),
        ({"max": 2}, -5, True, "at most 2"),
        ({"max": 2}, INFINITE, False, "at most 2"),
        ({"equals": 0}, False, True, "just 0"),
        ({"equals": 1}, True, True, "just 1"),
    ],
)
def test_a_query_s_first_value_is_judged_to_the_digit(
    given: Any, found: Any, passed: Any, told: Any
):
    result = answer({"sql": "SELECT 1 FROM s.t", **given}, [(found, "more")])
    assert (result.passed, result.expected) == (passed, told)


@pytest.mark.parametrize("found", [NO_NUMBER, Decimal("NaN"), "many", date(2023, 1, 5)])
def test_what_is_no_number_passes_no_check_and_breaks_none(found: Any):
    for given in ({"min": 0}, {"max": 0}, {"equals": 0}):
        result = answer({"sql": "SELECT 1 FROM s.t", **given, "severity": "warn"}, [(found,)])
        assert (result.passed, result.found) == (False, "no number")
    compared = {"sql": "SELECT SUM(n) FROM s.t", "equals": "SELECT COUNT(a) FROM raw.x"}
    assert not answer(compared, [(found,)], [(found,)]).passed
    result = answer(compared, [(2,)], [(found,)])
    assert (result.passed, result.expected) == (False, "a number to compare with")


@pytest.mark.parametrize(("day", "outside"), [("2023-01-05", 0), ("2023-01-06", 1), (None, 1)])
def test_a_row_without_a_partition_is_outside_of_the_window(day: str | None, outside: int):
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA ferry")
    connection.execute("CREATE TABLE ferry.aside (day TIMESTAMP, n INT)")
    connection.execute("INSERT INTO ferry.aside VALUES (?, 1)", [day])
    *_, window = built_in(subject(DAY), ["n"], REDSHIFTS_SQL)
    answers = [run(connection, statement).fetchall() for statement in window.statements]
    assert answers == [[(outside,)]]
    assert judged(window, answers).passed is not bool(outside)


@pytest.mark.parametrize(("day", "without"), [("9999-12-31", 0), (None, 1)])
def test_a_row_without_a_partition_is_in_no_whole_build_that_is_later_replaced_in_parts(
    day: str | None, without: int
):
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA ferry")
    connection.execute("CREATE TABLE ferry.aside (day TIMESTAMP, n INT)")
    connection.execute("INSERT INTO ferry.aside VALUES (?, 1)", [day])
    *_, asked = built_in(subject(), ["n"], REDSHIFTS_SQL)
    answers = [run(connection, statement).fetchall() for statement in asked.statements]
    assert judged(asked, answers).passed is not bool(without)
    assert asked.label == "no row without its partition"
    replaced_whole = replace(subject(), by_window=False)
    assert len(built_in(replaced_whole, ["n"], REDSHIFTS_SQL)) == 2


def test_two_queries_are_equal_or_not_and_an_empty_answer_is_neither():
    given = {"sql": "SELECT SUM(n) FROM s.t", "equals": "SELECT COUNT(a) FROM raw.x"}
    assert answer(given, [(2,)], [(2,)]).passed
    assert not answer(given, [(2,)], [(3,)]).passed
    assert not answer(given, [(None,)], [(None,)]).passed
    assert not answer(given, [], []).passed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"not_null": ["day", "n"]}, "no rows with NULL"),
        ({"unique": ["day"]}, "no of them more than once"),
        ({"bounds": "n", "min": 0, "max": 10}, "no rows outside of 0 to 10"),
    ],
)
def test_one_row_that_is_wrong_fails_the_check(given: dict[str, Any], expected: str):
    assert answer(given, [(0,)]).passed
    result = answer(given, [(1,)])
    assert (result.passed, result.expected) == (False, expected)


def moved(before: list[Any], after: list[Any], **given: Any) -> CheckResult:
    check = {"change": "n", "max_percent": 20, **given}
    return answer(check, before, after)


def test_a_partition_that_moves_too_far_is_told_and_a_new_one_is_not_compared():
    first, second = date(2023, 1, 5), date(2023, 1, 6)
    assert moved([(first, 100)], [(first, 120), (second, 999)]).passed
    assert moved([], [(first, 1)]).passed
    result = moved([(first, 100), (second, 10)], [(first, 121), (second, 5)])
    assert (result.passed, result.found) == (False, "2023-01-06 by -50.0 %, and 1 more")
    assert moved([(first, 100)], []).found == "2023-01-05 by -100.0 %"
    assert moved([(first, 10_000)], [(first, 12_004)]).found == "2023-01-05 by +20.04 %"
    assert moved([(first, 30_000)], [(first, 23_999)]).found == "2023-01-05 by -20.003 %"
    assert moved([(first, Decimal("-10"))], [(first, 10)]).found == "2023-01-05 by +200.0 %"
    assert moved([(first, 0)], [(first, 1)]).found == "2023-01-05 by +inf %"
    assert moved([(first, 0)], [(first, None)]).passed


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (INFINITE, 100, "by -inf %"),
        (100, INFINITE, "by +inf %"),
        (-INFINITE, INFINITE, "by +inf %"),
        (NO_NUMBER, 100, "to or from what is no number"),
        (100, NO_NUMBER, "to or from what is no number"),
        (INFINITE, None, "by -inf %"),
        (0, -1, "by -inf %"),
    ],
)
def test_what_becomes_a_number_or_ceases_to_be_one_moves_too_far(
    before: Any, after: Any, told: str
):
    first = date(2023, 1, 5)
    result = moved([(first, before)], [(first, after)])
    assert (result.passed, result.found) == (False, f"2023-01-05 {told}")
    one_way = "up" if "+" in told else "down"
    assert not moved([(first, before)], [(first, after)], direction=one_way).passed
    assert moved([(first, before)], [(first, before)]).passed


def test_a_change_can_be_one_way_only():
    first = date(2023, 1, 5)
    fallen = {"direction": "down"}
    assert moved([(first, 10)], [(first, 100)], **fallen).passed
    assert not moved([(first, 10)], [(first, 1)], **fallen).passed
    assert moved([(first, 10)], [(first, 1)], direction="up").passed


def test_nothing_is_compared_where_nothing_is_published():
    new = replace(subject(), gained=frozenset({"n"}))
    for about in (subject(published=False), new):
        asked = ask({"change": "n", "max_percent": 1}, about)
        assert asked.statements == ()
        result = judged(asked, [])
        assert (result.passed, result.found) == (True, "nothing published to compare")
    assert len(ask({"change": "rows", "max_percent": 1}, new).statements) == 2
    other_days = replace(subject(), gained=frozenset({"day"}))
    assert ask({"change": "rows", "max_percent": 1}, other_days).statements == ()


def test_an_output_check_sees_the_table_as_it_is_about_to_be():
    sql = {"sql": "SELECT COUNT(1) FROM s.t", "count": 1}
    (whole,) = ask(sql).statements
    assert whole.sql == 'SELECT COUNT(1) FROM "ferry"."aside" AS "t"'
    (partly,) = ask(sql, subject(DAY, LATER)).statements
    assert partly.sql.count("UNION ALL") == 1
    assert partly.values == (DAY.start, DAY.end, LATER.start, LATER.end)
    (first,) = ask(sql, subject(DAY, published=False)).statements
    assert first.sql == whole.sql
    (source,) = ask(sql, side="input_check").statements
    assert source.sql == "SELECT COUNT(1) FROM s.t"


def test_what_asks_about_the_window_is_asked_of_each_span_and_all_have_to_pass():
    window = "created_at >= :window_start AND created_at < :window_end"
    sql = {"sql": f"SELECT COUNT(a) FROM raw.x WHERE {window}", "equals": "SELECT SUM(n) FROM s.t"}
    asked = ask(sql, subject(DAY, LATER))
    counted, summed, of_later, _ = asked.statements
    assert counted.sql == of_later.sql
    assert [each.values for each in (counted, of_later)] == [
        (span.start, span.end) for span in (DAY, LATER)
    ]
    assert summed.values == (DAY.start, DAY.end, LATER.start, LATER.end)
    passed = judged(asked, [[(2,)], [(2,)], [(3,)], [(3,)]])
    assert passed.passed
    assert passed.expected == "just 2 in 2023-01-05, just 3 in 2023-01-09"
    failed = judged(asked, [[(2,)], [(2,)], [(3,)], [(4,)]])
    assert (failed.passed, failed.expected, failed.found) == (False, "just 4", "3")
    both = judged(asked, [[(1,)], [(2,)], [(3,)], [(4,)]])
    assert both.found == "1 in 2023-01-05, 3 in 2023-01-09"
    once = {"sql": "SELECT COUNT(1) FROM raw.x", "count": 1}
    assert len(ask(once, subject(DAY, LATER)).statements) == 1


def test_a_check_s_sql_is_sent_as_it_is_written():
    text = "-- it's late\nSELECT MAX(ADD_MONTHS(day, 1)) - MAX(x.d::date) FROM {}, raw.x;"
    sql = {"sql": text.format("s.t"), "equals": "SELECT TO_DATE('x', 'YYYY', TRUE) FROM raw.x"}
    expected = text.format('"ferry"."aside" AS "t"').removesuffix(";")
    assert [each.sql for each in ask(sql).statements] == [expected, sql["equals"]]
    asked = ask(sql, side="input_check").statements
    assert [each.sql for each in asked] == [text.format("s.t").removesuffix(";"), sql["equals"]]


def test_an_input_check_looks_at_the_window_of_a_table_that_is_tied_to_it():
    bounds = {"bounds": "score", "max": 10}
    (tied,) = ask({**bounds, "table": "raw.x"}, subject(DAY, LATER), "input_check").statements
    assert tied.values == (10, DAY.start, DAY.end, LATER.start, LATER.end)
    (loose,) = ask({**bounds, "table": "raw.y"}, subject(DAY), "input_check").statements
    assert loose.values == (10,)
    (whole,) = ask({**bounds, "table": "raw.x"}, subject(), "input_check").statements
    assert whole.values == (10,)


def counted(given: dict[str, Any], about: Subject, table: str, *rows: tuple[Any, ...]) -> int:
    """What the check's question finds in a table of these rows."""
    connection = duckdb.connect()
    connection.execute(f"CREATE SCHEMA raw; CREATE SCHEMA ferry; CREATE TABLE {table}")
    places = ", ".join("?" * len(rows[0]))
    connection.executemany(f"INSERT INTO {table.partition(' ')[0]} VALUES ({places})", rows)
    (statement,) = ask(given, about, "input_check").statements
    ((found,),) = run(connection, statement).fetchall()
    return int(found)


@pytest.mark.parametrize(
    ("not_null", "found"),
    [(["created_at"], 1), (["score"], 1), (["score", "Created_At"], 2), (["id"], 0)],
)
def test_a_row_without_the_column_that_ties_its_table_is_found_though_it_is_in_no_partition(
    not_null: list[str], found: int
):
    rows = [(1, None, 9), (2, DAY.start, None), (3, LATER.start, None), (4, DAY.start, 9)]
    check = {"not_null": not_null, "table": "raw.x"}
    table = "raw.x (id INT, created_at TIMESTAMP, score INT)"
    assert counted(check, subject(DAY), table, *rows) == found
    of_all = found + sum(name == "score" for name in not_null)
    assert counted(check, subject(), table, *rows) == of_all


@pytest.mark.parametrize(
    ("limits", "kind", "outside"),
    [
        ({"max": date(2023, 12, 31)}, "TIMESTAMP", 1),
        ({"max": date(2023, 12, 31)}, "DATE", 1),
        ({"max": datetime(2023, 12, 31)}, "TIMESTAMP", 2),
        ({"max": datetime(2023, 12, 31, 18)}, "TIMESTAMP", 1),
        ({"min": datetime(2023, 12, 31, 18)}, "TIMESTAMP", 1),
        ({"min": date(2023, 12, 31)}, "TIMESTAMP", 1),
        ({"min": date(2023, 12, 31), "max": date(2023, 12, 31)}, "TIMESTAMP", 2),
        ({"max": date.max}, "TIMESTAMP", 0),
    ],
)
def test_a_day_that_is_the_highest_value_is_all_of_that_day(
    limits: dict[str, Any], kind: str, outside: int
):
    rows = [("2023-12-30 23:59",), ("2023-12-31 18:00",), ("2024-01-01 00:00",), (None,)]
    check = {"bounds": "seen", "table": "raw.y", **limits}
    assert counted(check, subject(DAY), f"raw.y (seen {kind})", *rows) == outside


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("UTC", datetime(2023, 3, 26), datetime(2023, 3, 27)),
        ("Asia/Seoul", datetime(2023, 3, 25, 15), datetime(2023, 3, 26, 15)),
        ("Europe/Berlin", datetime(2023, 3, 25, 23), datetime(2023, 3, 26, 22)),
    ],
)
def test_a_column_with_a_zone_is_compared_with_the_moments_of_the_summary_s_days(
    zone: str, start: datetime, end: datetime
):
    day = Span(datetime(2023, 3, 26), datetime(2023, 3, 27))
    about = replace(subject(day), zoned={TableName("raw", "x"): {"created_at"}}, zone=zone)
    bounds = {"bounds": "score", "max": 10, "table": "raw.x"}
    (tied,) = ask(bounds, about, "input_check").statements
    assert tied.values == (10, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    (without,) = ask(bounds, replace(about, zoned={}), "input_check").statements
    assert without.values == (10, day.start, day.end)
    (whole,) = ask(bounds, replace(about, spans=(EVERYTHING,)), "input_check").statements
    assert whole.values == (10,)


@pytest.mark.parametrize("side", ["input_check", "output_check"])
@pytest.mark.parametrize(
    ("limits", "zone", "expected"),
    [
        ({"min": date(2023, 1, 1)}, "Asia/Seoul", datetime(2022, 12, 31, 15)),
        ({"max": date(2023, 12, 31)}, "Asia/Seoul", datetime(2023, 12, 31, 15)),
        ({"max": date(2023, 3, 26)}, "Europe/Berlin", datetime(2023, 3, 26, 22)),
        ({"max": datetime(2023, 1, 1, 9)}, "Asia/Seoul", datetime(2023, 1, 1)),
        ({"max": datetime(2023, 1, 1, 9, tzinfo=UTC)}, "Asia/Seoul", datetime(2023, 1, 1, 9)),
        ({"min": date.min}, "Asia/Seoul", datetime.min),
    ],
)
def test_the_bounds_of_a_column_with_a_zone_are_days_and_times_of_the_summary_s_zone(
    side: str, limits: dict[str, Any], zone: str, expected: datetime
):
    of_input = side == "input_check"
    table = TableName("raw", "y") if of_input else TableName("s", "t")
    about = replace(subject(), zoned={table: {"seen"}}, zone=zone)
    given = {"bounds": "seen", **({"table": "raw.y"} if of_input else {}), **limits}
    (asked,) = ask(given, about, side).statements
    assert asked.values == (expected.replace(tzinfo=UTC),)
    (without,) = ask(given, replace(about, zoned={}), side).statements
    (limit,) = limits.values()
    days = timedelta("max" in limits and not isinstance(limit, datetime))
    assert without.values == (limit + days,)


def test_every_summary_is_asked_for_its_grain_and_its_window():
    assert len(built_in(subject(), ["day"], REDSHIFTS_SQL)) == 2
    *_, window = built_in(subject(DAY), ["day"], REDSHIFTS_SQL)
    assert not judged(window, [[(1,)]]).passed
    assert judged(window, [[(0,)]]).passed
