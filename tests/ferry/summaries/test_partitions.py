import re
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import RequestError
from ferry.receipts.read_as import read_as
from ferry.receipts.receipt import Receipt
from ferry.schema import Kind
from ferry.specs.tables import TableSpec
from ferry.specs.tables_file import parse_table_specs
from ferry.summaries.partitions import (
    EVERYTHING,
    LAST,
    MAX_SPANS,
    Span,
    asked_span,
    check_begun,
    covered,
    from_text,
    merged,
    spans_label,
    to_text,
    whole_partitions,
)
from ferry.summaries.specs import SummarySpec
from ferry.summaries.touched import touched, touched_by_summary
from tests.ferry.summaries.test_specs import SQL, YAML, parsed

ROOT = Path(__file__).parents[3]


def days(first: str, end: str) -> Span:
    return Span(datetime.fromisoformat(first), datetime.fromisoformat(end))


DAY = days("2023-01-05", "2023-01-06")
JANUARY = days("2023-01-01", "2023-02-01")


@pytest.mark.parametrize(
    ("start", "end", "by", "expected"),
    [
        ("2023-01-05", "2023-01-06", "day", DAY),
        ("2023-01-05T06:00", "2023-01-05T07:00", "day", DAY),
        ("2023-01-05T23:00", "2023-01-06T00:00:00.000001", "day", days("2023-01-05", "2023-01-07")),
        ("2023-01-05", "2023-01-06", "month", JANUARY),
        ("2023-01-31", "2023-02-01", "month", JANUARY),
        ("2023-12-31", "2024-01-02", "month", days("2023-12-01", "2024-02-01")),
        ("2023-01-05", "2023-01-05", "day", DAY),
    ],
)
def test_a_touched_partition_is_built_whole(start: str, end: str, by: Any, expected: Span):
    bounds = (datetime.fromisoformat(each) for each in (start, end))
    assert whole_partitions(*bounds, by) == expected


moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1))


@given(st.lists(st.tuples(moments, moments), max_size=30), moments)
def test_merging_loses_and_adds_no_day(pairs: list[tuple[datetime, datetime]], moment: datetime):
    spans = [whole_partitions(min(pair), max(pair), "day") for pair in pairs]
    joined = merged(spans)
    assert any(s.start <= moment < s.end for s in spans) == any(
        s.start <= moment < s.end for s in joined
    )
    assert all(a.end < b.start for a, b in pairwise(joined))
    assert from_text(to_text(joined)) == joined


def test_very_many_spans_are_built_as_one():
    spans = [Span(datetime(2023, 1, 1 + n % 28), datetime(2023, 1, 2 + n % 28)) for n in range(9)]
    assert len(merged(spans)) == 1
    sparse = [whole_partitions(d, d, "day") for d in (datetime(y, 1, 1) for y in range(1900, 2023))]
    assert len(sparse) > MAX_SPANS
    assert merged(sparse) == (days("1900-01-01", "2022-01-02"),)


def test_everything_swallows_the_rest_and_is_called_all():
    assert merged([DAY, EVERYTHING]) == (EVERYTHING,)
    assert from_text(to_text([EVERYTHING])) == (EVERYTHING,)
    assert spans_label([EVERYTHING]) == "all"
    assert spans_label([DAY, JANUARY]) == "2023-01-05, 2023-01-01/2023-02-01"


def test_what_a_person_asks_for_is_widened_to_whole_partitions():
    assert asked_span(None, None, None) == EVERYTHING
    assert asked_span(date(2023, 1, 5), date(2023, 1, 6), "month") == JANUARY
    with pytest.raises(RequestError, match="takes no dates"):
        asked_span(date(2023, 1, 5), date(2023, 1, 6), None)
    with pytest.raises(RequestError, match="both its ends"):
        asked_span(date(2023, 1, 5), None, "day")
    with pytest.raises(RequestError, match="the end is not after the start"):
        asked_span(date(2023, 1, 5), date(2023, 1, 5), "day")


def test_a_span_is_covered_by_one_that_has_both_its_ends():
    assert JANUARY.covers(DAY) and DAY.covers(DAY) and JANUARY.covers(JANUARY)
    assert not DAY.covers(JANUARY) and not days("2023-01-01", "2023-01-05").covers(DAY)
    for part in (days("2023-01-01", "2023-01-10"), days("2023-01-10", "2023-02-10")):
        assert not part.covers(JANUARY)
    assert covered(DAY, [days("2023-02-01", "2023-03-01"), JANUARY])
    assert not covered(JANUARY, [DAY])


def test_a_day_has_begun_where_it_has_on_any_clock():
    at = datetime(2023, 1, 4, 16, tzinfo=UTC)
    check_begun(DAY, ["UTC", "Asia/Seoul"], at)
    with pytest.raises(RequestError, match="in the future"):
        check_begun(DAY, ["UTC"], at)


def receipt(**given: Any) -> Receipt:
    values: dict[str, Any] = {
        "batch_id": "1",
        "table_name": "raw_data.orders",
        "mode": "window",
        "window_start": datetime(2023, 1, 5, tzinfo=UTC),
        "window_end": datetime(2023, 1, 6, tzinfo=UTC),
        "window_label": "2023-01-05",
        "status": "loaded",
        "checksum": "",
        "manifest_uri": None,
        "code_version": "",
        "flow_run_id": "",
        "started_at": datetime(2023, 1, 6, tzinfo=UTC),
        "finished_at": datetime(2023, 1, 6, tzinfo=UTC),
    }
    counts = ("extracted", "staged", "copied", "inserted", "updated", "deleted", "unchanged")
    return Receipt(**{**{f"rows_{c}": 0 for c in counts}, **values, **given})


def table(**given: Any) -> TableSpec:
    return TableSpec(
        **{"name": "orders", "source": "shop", "mode": "window", "key": ["id"], **given}
    )


def of(receipt: Receipt, summary: SummarySpec | None = None, **given: Any) -> Span:
    values: dict[str, Any] = {"table": table(), "cursor": "created_at", "kind": Kind.TIMESTAMP}
    return touched(receipt, summary or parsed(), **{**values, **given})


def test_a_window_touches_its_days_and_no_others():
    assert of(receipt()) == DAY
    assert of(receipt(rows_updated=3)) == DAY


def test_of_the_page_s_first_summary_a_day_that_was_carried_is_built_and_no_other():
    """Read by another column than the table is carried by, all of it is built every day."""
    page = (ROOT / "docs/summaries.md").read_text()
    sql, yaml = re.findall(r"^```(?:sql|yaml)\n(.*?)^```$", page, re.S | re.M)[:2]
    summary = parsed(yaml, sql, "answers_by_day")
    (read,) = summary.reads
    shipped = parse_table_specs((ROOT / "deployments/tables.yaml").read_text(), "tables.yaml")
    carried = next(each for each in shipped.values() if str(each.target) == read)
    of_a_day = receipt(table_name=read, cursor_name=carried.cursor, rows_updated=1)
    assert touched(of_a_day, summary, carried, carried.cursor, Kind.TIMESTAMP) == DAY
    line = next(line for line in yaml.splitlines() if read in line).strip().removeprefix(read)
    assert f"reads: {{{read}{line}}}" in (ROOT / "README.md").read_text()


def test_days_are_those_of_the_column_s_wall_clock():
    """5 January in Berlin is from 23:00 to 23:00 in UTC."""
    zone = ZoneInfo("Europe/Berlin")
    window = {
        "window_start": datetime(2023, 1, 5, tzinfo=zone),
        "window_end": datetime(2023, 1, 6, tzinfo=zone),
    }
    both = days("2023-01-04", "2023-01-06")
    assert of(receipt(**window), table=table(zone="Europe/Berlin")) == DAY
    assert of(receipt(**window)) == both
    assert of(receipt(**window), kind=Kind.TIMESTAMPTZ) == both
    berlin = parsed(yaml=YAML + "zone: Europe/Berlin\n")
    assert of(receipt(**window), berlin, kind=Kind.TIMESTAMPTZ) == DAY


def test_what_cannot_tell_the_days_touches_everything():
    loose = parsed(yaml=YAML.replace(", fixed: true", ""))
    assert of(receipt(mode="full", window_start=None, window_end=None)) == EVERYTHING
    assert of(receipt(), cursor="modified") == EVERYTHING
    assert of(receipt(), kind=Kind.TEXT) == EVERYTHING
    assert of(receipt(), table=None) == EVERYTHING
    assert of(receipt(cursor_name="created_at")) == DAY
    assert of(receipt(cursor_name="modified")) == EVERYTHING
    for zone, span in (("UTC", DAY), ("Asia/Seoul", EVERYTHING)):
        text = read_as(table(zone=zone), "window", Kind.TIMESTAMP)
        assert of(receipt(read_as=text)) == span
    assert of(receipt(), loose) == DAY
    assert of(receipt(rows_updated=1), loose) == EVERYTHING
    assert of(receipt(rows_deleted=1), loose) == EVERYTHING
    assert of(receipt(), parsed(yaml=YAML.replace("by_window", "replace"))) == EVERYTHING


def test_a_watermark_touches_all_days_from_its_bound_on():
    watermark = receipt(mode="watermark", window_end=None)
    assert of(watermark) == Span(DAY.start, LAST)
    assert of(receipt(mode="watermark", window_start=None, window_end=None)) == EVERYTHING


def test_a_summary_of_a_summary_is_touched_where_that_was_published():
    monthly = parsed(
        yaml=YAML.replace("raw_data.orders: {column: created_at", "analytics.sales: {column: day")
        .replace("column: day, by: day}", "column: day, by: month}")
        .replace("FROM analytics.sales", "FROM analytics.monthly"),
        sql=SQL.replace("raw_data.orders", "analytics.sales").replace("created_at", "day"),
        name="monthly",
    )
    assert touched_by_summary(parsed(), (DAY,), monthly) == [JANUARY]
    assert touched_by_summary(parsed(), (EVERYTHING,), monthly) == [EVERYTHING]
    assert touched_by_summary(None, (DAY,), monthly) == [EVERYTHING]
    other = parsed(
        yaml=YAML.replace(
            "raw_data.orders: {column: created_at", "analytics.sales: {column: due"
        ).replace("FROM analytics.sales", "FROM analytics.other"),
        sql=SQL.replace("raw_data.orders", "analytics.sales").replace("created_at", "due"),
        name="other",
    )
    assert touched_by_summary(parsed(), (DAY,), other) == [EVERYTHING]


@pytest.mark.parametrize(
    ("upstream_zone", "expected"),
    [("UTC", days("2023-01-05", "2023-01-07")), ("Asia/Seoul", DAY)],
)
def test_days_of_a_summary_in_another_zone_touch_all_days_that_they_reach_into(
    upstream_zone: str, expected: Span
):
    moments = YAML.replace("{type: date,", "{type: timestamptz,")
    upstream = parsed(yaml=f"{moments}zone: {upstream_zone}\n")
    daily = parsed(
        yaml=YAML.replace("raw_data.orders: {column: created_at", "analytics.sales: {column: day")
        .replace("FROM analytics.sales", "FROM analytics.daily")
        .replace("grain:", "zone: Asia/Seoul\ngrain:"),
        sql=SQL.replace("raw_data.orders", "analytics.sales").replace("created_at", "day"),
        name="daily",
    )
    assert touched_by_summary(upstream, (DAY,), daily) == [expected]
