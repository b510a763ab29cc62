"""Where a query compares a column that has a zone, a day begins when it does in the summary's."""

from datetime import UTC, datetime

import pytest

from ferry.schema import TableName
from ferry.summaries.moments import by_moments, moments
from ferry.summaries.partitions import EVERYTHING, Span
from ferry.summaries.query import parse_query

ZONED = {TableName("raw", "r"): {"read_at"}, TableName("raw", "plain"): frozenset[str]()}
WALL_CLOCK, MOMENTS = {"window_start", "window_end"}, {"moment_start", "moment_end"}
WITHIN = "read_at >= :window_start AND read_at < :window_end"


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        (f"SELECT 1 FROM raw.r WHERE {WITHIN}", MOMENTS),
        ("SELECT 1 FROM raw.r AS a WHERE :window_start <= a.READ_AT", {"moment_start"}),
        ("SELECT 1 FROM raw.r WHERE read_at BETWEEN :window_start AND (:window_end)", MOMENTS),
        ("SELECT 1 FROM raw.r WHERE (read_at) < :window_end::DATE", {"moment_end"}),
        (f"WITH a AS (SELECT read_at, 1 AS b FROM raw.r) SELECT 1 FROM a WHERE {WITHIN}", MOMENTS),
        (f"SELECT 1 FROM (SELECT * FROM raw.r) AS a WHERE {WITHIN}", MOMENTS),
        (
            "SELECT 1 FROM (SELECT read_at AS b FROM raw.r UNION ALL SELECT read_at FROM raw.r) "
            "AS a WHERE b >= :window_start",
            {"moment_start"},
        ),
        ("SELECT 1 FROM raw.plain JOIN raw.r ON r.read_at < :window_end", {"moment_end"}),
        (f"SELECT 1 FROM raw.plain WHERE {WITHIN}", WALL_CLOCK),
        ("SELECT 1 FROM raw.plain AS p, raw.r WHERE p.read_at < :window_end", {"window_end"}),
        (
            "SELECT 1 FROM raw.r WHERE read_at AT TIME ZONE 'Asia/Seoul' < :window_end",
            {"window_end"},
        ),
        (
            "SELECT 1 FROM (SELECT read_at AT TIME ZONE 'Asia/Seoul' AS read_at FROM raw.r) AS a "
            f"WHERE {WITHIN}",
            WALL_CLOCK,
        ),
        ("SELECT 1 FROM raw.r WHERE CAST(read_at AS DATE) < :window_end", {"window_end"}),
        (
            "SELECT :window_start, read_at > :window_start FROM raw.r",
            {"window_start", "moment_start"},
        ),
    ],
)
def test_bounds_are_moments_just_where_a_column_with_a_zone_is_compared(
    text: str, parameters: set[str]
):
    query = parse_query(text, "query.sql")
    assert by_moments(query, ZONED).parameters == parameters
    assert by_moments(query, {}) is query
    assert query.parameters <= WALL_CLOCK


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("Asia/Seoul", datetime(2023, 3, 25, 15), datetime(2023, 3, 26, 15)),
        ("Europe/Berlin", datetime(2023, 3, 25, 23), datetime(2023, 3, 26, 22)),
        ("America/New_York", datetime(2023, 3, 26, 4), datetime(2023, 3, 27, 4)),
    ],
)
def test_a_day_begins_when_it_does_in_the_zone(zone: str, start: datetime, end: datetime):
    day = Span(datetime(2023, 3, 26), datetime(2023, 3, 27))
    assert moments(day, zone) == (start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    everything = tuple(each.replace(tzinfo=UTC) for each in (EVERYTHING.start, EVERYTHING.end))
    assert moments(EVERYTHING, zone) == everything
