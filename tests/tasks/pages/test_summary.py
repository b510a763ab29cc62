"""What people look at when a summary was built: newest rows, differences, and charts."""

import re
import struct
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from prefect import flow
from prefect.client.schemas.objects import Artifact
from prefect.runtime import flow_run

from ferry.summaries.specs import SummarySpec
from tasks.pages import summary as summary_page
from tasks.pages.summary import CheckOutcome, show_summary, write_chart
from tests.harness.api import Api, eventually

IMAGE = re.compile(r"!\[(.+?)\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)")
Show = Callable[..., "Page"]


@dataclass
class Page:
    """The text of an artifact without the images, and its images by measure."""

    text: str
    images: dict[str, bytes]

    @classmethod
    def of(cls, text: str) -> "Page":
        images = {name: b64decode(data) for name, data in IMAGE.findall(text)}
        return cls(IMAGE.sub("", text), images)

    def cells(self, day: str) -> list[str]:
        """The cells of the row of this day."""
        (line,) = [line for line in self.text.splitlines() if line.startswith(f"| {day} ")]
        return [cell.strip() for cell in line.strip("|").split("|")][1:]

    def moves(self, measure: str, which: str = "now") -> int:
        """How many strokes the measure's line is drawn in."""
        root = ElementTree.fromstring(self.images[measure])
        (path,) = root.findall(f".//*[@id='{which}-0']/{{*}}path")
        return path.get("d", "").count("M")


TYPES = {"day": "date", "hour": "timestamp", "channel": "varchar(20)"}


def spec_of(
    grain: tuple[str, ...] = ("day",), measures: tuple[str, ...] = ("nps", "responses")
) -> SummarySpec:
    columns = {
        name: {"type": TYPES.get(name, "bigint"), "description": f"What {name} tells."}
        for name in (*grain, *measures)
    }
    return SummarySpec.model_validate(
        {
            "name": "nps_summary",
            "description": "How the shop is liked.",
            "owner": "Data team",
            "grain": grain,
            "columns": columns,
            "reads": {"raw_data.nps": None},
            "publish": "replace",
        }
    )


NPS = spec_of()


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    """Shows a summary without a run: what cannot be shown is an error, as there is no log."""

    def show(before: pd.DataFrame, after: pd.DataFrame, spec: SummarySpec = NPS) -> Page:
        texts: list[str] = []
        monkeypatch.setattr(
            summary_page, "create_markdown_artifact", lambda text, **_: texts.append(text)
        )
        show_summary(spec, before, after)
        (text,) = texts
        return Page.of(text)

    return show


@pytest.fixture
def run_that_shows(api: Api) -> Callable[..., tuple[str, Artifact]]:
    """Shows a summary in a run of its own: its id, and the artifact that the server has."""

    def show(
        before: pd.DataFrame, after: pd.DataFrame, checks: Sequence[CheckOutcome] = ()
    ) -> tuple[str, Artifact]:
        ids: list[str] = []

        @flow
        def build() -> None:
            ids.append(str(flow_run.id))
            show_summary(NPS, before, after, checks)

        build()
        (artifact,) = api.artifacts(ids[0])
        return ids[0], artifact

    return show


def nps(rows: dict[date, tuple[Any, Any]]) -> pd.DataFrame:
    """A summary's frame as a warehouse's driver gives it."""
    records = [(day, nps, responses) for day, (nps, responses) in rows.items()]
    return pd.DataFrame(records, columns=["day", "nps", "responses"])


def january(*numbers: int) -> dict[date, tuple[Any, Any]]:
    return {date(2023, 1, n): (Decimal(f"{n}.50"), 1000 + n) for n in numbers}


def test_the_page_tells_newest_rows_differences_and_a_chart_of_each_measure(
    run_that_shows: Any,
) -> None:
    before = january(*range(1, 31))
    after = january(*range(2, 26), 27, 28, 29, 30, 31)
    after[date(2023, 1, 29)] = (Decimal("40.00"), 1029)
    after[date(2023, 1, 30)] = (None, 1030)
    after[date(2023, 1, 3)] = (Decimal("3.50"), 2003)
    outcome = CheckResult("rows | scores", passed=False, expected="at least 1", found="0")

    _, artifact = run_that_shows(nps(before), nps(after), [outcome])
    page = Page.of(str(artifact.data))

    assert artifact.key == "summary-nps-summary"
    assert artifact.type == "markdown"
    told = "29 rows; against what was published before: 1 new, 3 changed, 2 gone."
    assert told in page.text
    assert told in str(artifact.description)
    newest, older = page.text.split("### Older rows that differ: 2")
    days = re.findall(r"^\| (2023-01-\d\d) ", newest, re.MULTILINE)
    assert days == [f"2023-01-{n}" for n in range(31, 21, -1)]
    assert page.cells("2023-01-31") == ["31.50", "1,031", "**new**"]
    assert page.cells("2023-01-30") == ["30.50 → NULL", "1,030", "**changed**"]
    assert page.cells("2023-01-29") == ["29.50 → 40.00 (+10.50)", "1,029", "**changed**"]
    assert page.cells("2023-01-28") == ["28.50", "1,028", ""]
    assert page.cells("2023-01-26") == ["26.50 → gone", "1,026 → gone", "**gone**"]
    assert "2023-01-01" in older
    assert page.cells("2023-01-03") == ["3.50", "1,003 → 2,003 (+1,000)", "**changed**"]
    assert "How the shop is liked." in page.text
    assert "Owner: Data team" in page.text
    assert r"| rows \| scores | **failed** | at least 1 | 0 |" in page.text

    assert list(page.images) == ["nps", "responses"]
    assert page.moves("responses") == 2  # 26 January is missing
    assert page.moves("responses", "before") == 1
    assert all(len(image) * 4 / 3 < 60_000 for image in page.images.values())


@dataclass(frozen=True)
class CheckResult:
    label: str
    passed: bool
    expected: str
    found: str


NOTHING = pd.DataFrame()
NO_ROWS = nps({})
ALL_NULL = nps({date(2023, 1, n): (None, n) for n in (1, 2, 3)})


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (NOTHING, nps(january(1, 2, 3)), "3 rows; nothing was published before."),
        (NO_ROWS, nps(january(1)), "1 row; nothing was published before."),
        (nps(january(1, 2)), NO_ROWS, "0 rows; against .*: 0 new, 0 changed, 2 gone."),
        (nps(january(1, 2)), NOTHING, "0 rows; against .*: 0 new, 0 changed, 2 gone."),
        (NOTHING, NOTHING, "0 rows; nothing was published before."),
        (ALL_NULL, ALL_NULL, "3 rows; against .*: 0 new, 0 changed, 0 gone."),
        (
            nps(january(1)).rename(columns={"day": "month"}),
            nps(january(1)),
            "1 row; what was published before had another grain, and is not compared.",
        ),
        (
            nps(january(1))[["day", "nps"]],
            nps(january(1)),
            "1 row; against .*: 0 new, 0 changed, 0 gone.\n\nNot published before: responses.",
        ),
    ],
    ids=["first", "first-typed", "emptied", "emptied-bare", "nothing", "null", "grain", "measure"],
)
def test_whatever_there_is_to_show_is_shown(
    show: Show, before: pd.DataFrame, after: pd.DataFrame, told: str
) -> None:
    page = show(before, after)
    assert re.search(told, page.text)
    assert list(page.images) == ["nps", "responses"]


MIDNIGHT = datetime(2023, 1, 5)
DIFFERS = "**changed**"


@pytest.mark.parametrize(
    ("was", "now", "shown"),
    [
        ((MIDNIGHT, 0.1 + 0.2), (MIDNIGHT, 0.3), ["0.3", ""]),
        ((MIDNIGHT, 1.5), (date(2023, 1, 5), 2.25), ["1.5 → 2.25 (+0.75)", DIFFERS]),
        ((MIDNIGHT, Decimal("26.67")), (MIDNIGHT, Decimal("26.670")), ["26.670", ""]),
        ((MIDNIGHT, Decimal(7)), (MIDNIGHT, 5), ["7 → 5 (-2)", DIFFERS]),
        ((MIDNIGHT, 1e9), (MIDNIGHT, 2e9), [f"{10**9:,} → {2 * 10**9:,} (+{10**9:,})", DIFFERS]),
        ((MIDNIGHT, None), (MIDNIGHT, pd.NA), ["NULL", ""]),
        ((MIDNIGHT, True), (MIDNIGHT, False), ["true → false", DIFFERS]),
        (("2023-01-05", 1), ("2023-01-05", 1), ["1", ""]),
    ],
)
def test_values_of_every_type_are_compared_by_what_they_mean(
    show: Show, was: tuple[Any, Any], now: tuple[Any, Any], shown: list[str]
) -> None:
    before, after = (pd.DataFrame([row], columns=["day", "nps"]) for row in (was, now))
    assert show(before, after, spec_of(measures=("nps",))).cells("2023-01-05") == shown


def test_a_grain_of_more_than_the_time_has_a_line_for_each_of_its_values(show: Show) -> None:
    rows = [
        (datetime(2023, 1, n, tzinfo=UTC), name, n * size)
        for n in (1, 2)
        for name, size in (("a|b", 1), ("![x](http://x/y)", 3), *((f"c{n}", 2) for n in range(6)))
    ]
    frame = pd.DataFrame(rows, columns=["hour", "channel", "users"])
    page = show(NOTHING, frame, spec_of(("hour", "channel"), ("users",)))
    words = re.findall(rb"<!-- (.*?) -->", page.images["users"])
    assert b"![x](http://x/y)" in words  # the largest is drawn, the smallest is not
    assert b"a|b" not in words
    assert "The 6 largest of 8 are drawn." in page.text
    assert r"| 2023-01-02 00:00:00+00:00 | a\|b | 2 | **new** |" in page.text
    assert r"\!\[x\](http://x/y)" in page.text  # no image from elsewhere


def test_what_each_column_tells_is_shown_as_its_author_describes_it(show: Show) -> None:
    spec = spec_of(("day", "channel"), ("nps",))
    told = "In percent | of *responses*,\nwithout those that gave none."
    described = spec.columns["nps"].model_copy(update={"description": told})
    spec = spec.model_copy(update={"columns": spec.columns | {"nps": described}})
    page = show(NOTHING, NOTHING, spec)
    _, columns = page.text.split("## Columns")
    assert re.findall(r"^\| (\w+) \| (.*) \|$", columns, re.MULTILINE)[-3:] == [
        ("day", "What day tells."),
        ("channel", "What channel tells."),
        ("nps", r"In percent \| of \*responses\*, without those that gave none."),
    ]


def test_only_the_summary_s_own_columns_are_shown(show: Show) -> None:
    after = nps(january(1, 2)).assign(email="p1anted@example.org")
    assert "p1anted" not in show(NOTHING, after).text


def test_a_chart_that_cannot_be_drawn_fails_neither_the_run_nor_the_rest(
    run_that_shows: Any, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = summary_page.draw_chart

    def draw(title: str, *args: Any) -> bytes:
        if title == "nps":
            raise RuntimeError("p1anted")
        return drawn(title, *args)

    monkeypatch.setattr(summary_page, "draw_chart", draw)
    run_id, artifact = run_that_shows(NOTHING, nps(january(1, 2)))
    page = Page.of(str(artifact.data))
    assert list(page.images) == ["responses"]
    assert "The chart could not be drawn" in page.text
    warned = eventually(lambda: [line for line in api.log(run_id) if "nps_summary.nps" in line])
    assert re.fullmatch(
        r"the chart of nps_summary.nps could not be shown: RuntimeError in \S+.py:\d+", warned[0]
    )


def test_a_page_that_cannot_be_shown_does_not_fail_the_run(prefect_server: Any, api: Api) -> None:
    ids: list[str] = []

    @flow
    def build() -> str:
        ids.append(str(flow_run.id))
        show_summary(spec_of(measures=("absent",)), NOTHING, nps(january(1)))
        return "built"

    assert build() == "built"
    assert api.artifacts(ids[0]) == []
    assert eventually(
        lambda: [x for x in api.log(ids[0]) if "summary nps_summary could not be" in x]
    )


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_chart_is_saved_as_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"nps{suffix}"
    rows = nps(january(1, 2, 4, 5))
    assert write_chart(path, ["day"], "nps", "day", NO_ROWS, rows) == path
    content = path.read_bytes()
    if suffix == ".svg":
        assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
    else:
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">II", content[16:24]) == (1125, 390)


def test_a_chart_is_saved_as_no_other_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.svg or \.png, not as '\.gif'"):
        write_chart(tmp_path / "nps.gif", ["day"], "nps", "day", NO_ROWS, NO_ROWS)
