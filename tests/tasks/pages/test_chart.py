"""Charts: lines over time that break where something is missing, and images that stay small."""

import re
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from math import inf, nan
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest

from tasks.pages.chart import LINES_PER_CHART, Line, draw_chart, figure_of, in_runs, moment, thinned

FIRST = datetime(2023, 1, 1)
SVG = "{http://www.w3.org/2000/svg}"
SMALL = 60_000


def days(*numbers: int, figure: float | None = 1.0) -> list[tuple[datetime, float | None]]:
    """Points on these days after the first."""
    return [(FIRST + timedelta(days=n), figure if figure is None else figure + n) for n in numbers]


def strokes(image: bytes, line: str) -> list[int]:
    """How many points each stroke of this line has, dots apart."""
    root = ElementTree.fromstring(image)
    assert root.tag == f"{SVG}svg"
    (group,) = [found for found in root.iter(f"{SVG}g") if found.get("id") == line]
    path = group.find(f"{SVG}path")
    drawn = "" if path is None else path.get("d", "")
    return [stroke.count("L") + 1 for stroke in drawn.split("M")[1:]]


def dots(image: bytes, line: str) -> int:
    root = ElementTree.fromstring(image)
    (group,) = [found for found in root.iter(f"{SVG}g") if found.get("id") == line]
    return len(list(group.iter(f"{SVG}use")))


def ticks(image: bytes) -> list[str]:
    """The words in the image, which matplotlib draws as shapes and tells in comments."""
    return [text.decode() for text in re.findall(rb"<!-- (.*?) -->", image)]


def zigzag(*numbers: int) -> list[tuple[datetime, float | None]]:
    """Points of which no three are on one line, so that none is drawn away with its neighbours."""
    return [(FIRST + timedelta(days=n), float(n % 2)) for n in numbers]


def test_a_missing_day_is_a_gap_and_no_line_through_it() -> None:
    image = draw_chart("nps", [Line("", zigzag(0, 1, 2, 4, 5, 7), zigzag(0, 1, 2, 3, 4, 5))])
    assert strokes(image, "now-0")[:2] == [3, 2]
    assert dots(image, "now-0") == 1  # a day alone would not be seen as a line
    assert strokes(image, "before-0") == [6]


def test_a_figure_that_is_null_is_a_gap() -> None:
    points = [*zigzag(0, 1), *days(2, figure=None), *zigzag(3, 4, 5)]
    assert strokes(draw_chart("nps", [Line("", points)]), "now-0") == [2, 3]


def test_months_are_neighbours_however_long_they_are_and_a_missing_one_is_a_gap() -> None:
    months = [datetime(2023, month, 1) for month in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12)]
    runs = in_runs([(when, 1.0) for when in months], months)
    assert [(when.month, run) for when, _, run in runs] == [
        *((month, 0) for month in range(1, 6)),
        *((month, 1) for month in range(7, 13)),
    ]


def test_days_of_a_zone_are_neighbours_also_when_the_clocks_change() -> None:
    summer, winter = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))
    october = [datetime(2023, 10, day, tzinfo=summer) for day in (26, 27, 28, 29)]
    october += [datetime(2023, 10, day, tzinfo=winter) for day in (30, 31)]
    november = [datetime(2023, 11, day, tzinfo=winter) for day in (2, 3, 4)]
    times = [when for day in (*october, *november) if (when := moment(day))]
    runs = in_runs([(when, 1.0) for when in times], times)
    assert [run for _, _, run in runs] == [0] * 6 + [1] * 3


def test_the_time_axis_says_day_month_and_year() -> None:
    written = ticks(draw_chart("nps", [Line("", days(*range(31)))]))
    assert {"01 Jan", "05 Jan", "29 Jan", "2023"} <= set(written)
    written = ticks(draw_chart("nps", [Line("", days(0))]))
    assert {"31 Dec", "01 Jan", "02 Jan", "2023"} <= set(written)
    written = ticks(draw_chart("mau", [Line("", days(*range(0, 700, 10), figure=2e6))]))
    assert {"Jan", "2023"} <= set(written)
    assert any(re.fullmatch(r"2,000,\d00", text) for text in written)


@pytest.mark.parametrize(
    "lines",
    [[], [Line("", [])], [Line("", days(0, 1, 2, figure=None), days(0, figure=None))]],
    ids=["no line", "no point", "only NULL"],
)
def test_where_there_are_no_figures_the_chart_says_so(lines: list[Line]) -> None:
    assert "no figures" in ticks(draw_chart("nps", lines))


def test_a_long_line_is_thinned_but_keeps_its_peaks_and_its_gaps() -> None:
    points = [(FIRST + timedelta(days=n), 0.0, int(n > 2600)) for n in range(5000) if n != 2600]
    points[1234] = (points[1234][0], 99.0, 0)
    points[4321] = (points[4321][0], -99.0, 1)
    kept = thinned(points, 400)
    assert len(kept) <= 400
    assert {99.0, -99.0} <= {figure for _, figure, _ in kept}
    assert {run for _, _, run in kept} == {0, 1}
    assert list(kept) == sorted(kept)
    assert thinned(points[:400], 400) == points[:400]


@pytest.mark.parametrize(("lines", "points"), [(1, 400), (1, 5000), (10, 400)])
def test_an_image_stays_small(lines: int, points: int) -> None:
    random = Random(1)
    many = [
        Line(
            f"channel {n}" if lines > 1 else "",
            *([(when, random.random()) for when, _ in days(*range(points))] for _ in "nb"),
        )
        for n in range(lines)
    ]
    image = draw_chart("nps", many)
    assert len(b64encode(image)) < (SMALL if lines == 1 else SMALL * 1.5)
    assert f'id="now-{min(lines, LINES_PER_CHART) - 1}"'.encode() in image
    assert f'id="now-{LINES_PER_CHART}"'.encode() not in image


def test_names_are_drawn_as_they_are() -> None:
    image = draw_chart("price_$x^2$", [Line("_a$b$", days(0, 1)), Line("c", days(0, 1))])
    assert {"price_$x^2$", "_a$b$", "c"} <= set(ticks(image))


def test_charts_drawn_at_the_same_time_are_those_drawn_one_by_one() -> None:
    charts = [[Line("", zigzag(*range(n)), zigzag(*range(1, n)))] for n in range(10, 18)]

    def drawn(lines: list[Line]) -> list[Any]:
        image = draw_chart("nps", lines)
        return [strokes(image, "now-0"), strokes(image, "before-0"), ticks(image)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(drawn, charts)) == list(map(drawn, charts))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2023, 1, 5), datetime(2023, 1, 5)),
        (datetime(2023, 1, 5, 1), datetime(2023, 1, 5, 1)),
        (datetime(2023, 1, 5, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2023, 1, 4, 23)),
        (datetime(2023, 1, 5, tzinfo=UTC), datetime(2023, 1, 5)),
        ("2023-01-05", datetime(2023, 1, 5)),
        ("2023-01", datetime(2023, 1, 1)),
        ("not yet", None),
        (None, None),
        (7, None),
    ],
)
def test_times_of_every_type_have_their_place_on_the_axis(value: Any, expected: Any) -> None:
    assert moment(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((Decimal("1.5"), 1.5), (7, 7.0), (True, 1.0)),
        *((value, None) for value in (None, nan, inf, "x", 10**400, Decimal("NaN"))),
    ],
)
def test_whatever_is_no_finite_number_is_no_figure(value: Any, expected: float | None) -> None:
    assert figure_of(value) == expected
