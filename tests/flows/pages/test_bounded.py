"""However much fails, a run's message and its page can be read, stored and sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.logging import disable_run_logger

from ferry.audits.outcome import Audit, AuditedBucket
from ferry.backfills.outcomes import Outcome, failed_lines, failures_of
from ferry.backfills.plan import PlannedWindow, TablePlan
from ferry.receipts.receipt import Receipt
from ferry.specs.tables import TableSpec
from ferry.windows import Window
from flows import backfill_tables, show_coverage, sync_all
from flows.pipeline.make_batch import Routes
from flows.pipeline.summaries.published import Published
from tasks.pages import audit as audit_page
from tasks.pages import backfill as backfill_page
from tasks.pages.coverage import overview_page

MANY = 5_000
PAGE_BYTES, MESSAGE_BYTES = 150_000, 100_000
START = datetime(2000, 1, 1, tzinfo=UTC)
REASON = "upsert raw_data.t …: it does not fit | at all; " + "x" * 1_000


def window(number: int) -> Window:
    begin = START + timedelta(hours=number)
    return Window(begin, begin + timedelta(hours=1), "UTC")


def spec(name: str = "t") -> TableSpec:
    return TableSpec.model_validate(
        {
            "name": name,
            "source": "s",
            "stage": "s",
            "warehouse": "w",
            "mode": "window",
            "key": ["id"],
        }
    )


def receipt(number: int) -> Receipt:
    row: dict[str, Any] = dict.fromkeys(Receipt.__dataclass_fields__, 0)
    texts = ("batch_id", "table_name", "window_label", "mode", "status")
    return Receipt(**{**row, **{name: f"{name} {number}" for name in texts}})


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The artifacts, in place of the server that shows them."""
    shown: list[str] = []
    for module in (sync_all, show_coverage, backfill_page, audit_page):
        monkeypatch.setattr(
            module, "create_markdown_artifact", lambda markdown, **_: shown.append(markdown)
        )
    return shown


def size(text: str | None) -> int:
    return len((text or "").encode())


@pytest.mark.parametrize("alike", [True, False])
def test_a_backfill_of_which_all_windows_fail(
    pages: list[str], monkeypatch: pytest.MonkeyPatch, alike: bool
) -> None:
    monkeypatch.setattr(backfill_tables, "follow_tables", lambda _: Published())
    outcomes = [
        Outcome("raw_data.t", window(n), reason=REASON if alike else f"no{n}: {REASON}")
        for n in range(MANY)
    ]
    plan = TablePlan(spec(), tuple(PlannedWindow(o.window) for o in outcomes))
    with disable_run_logger():
        state: State[Any] = backfill_tables._ended([(plan, outcomes)] * 3, Routes(), {}, {})
    assert size(state.message) < MESSAGE_BYTES
    assert "it does not fit | at all" in (state.message or "")
    assert "more | | |" in pages[0]
    assert size(pages[0]) < PAGE_BYTES
    told = failed_lines(failures_of(outcomes))
    assert size("\n".join(told)) < MESSAGE_BYTES
    assert told[-1].endswith("more reasons") is not alike
    counted, rest = told[0].split(" failed, ", 1)
    assert counted == (f"raw_data.t: {MANY:,} windows" if alike else "raw_data.t: 1 window")
    assert rest.startswith("2000-01-01") and "it does not fit" in rest


def test_a_table_that_fails_though_all_its_windows_have_landed_is_named_in_their_place(
    pages: list[str],
) -> None:
    failed = Outcome("raw_data.t", None, reason="it is away", windows=0)
    with disable_run_logger():
        backfill_page.show_carried([], [failed], {})
    assert pages[0].splitlines()[-1] == "| raw_data.t | the table | it is away |"


def test_the_plan_of_a_backfill_of_many_windows_and_tables(pages: list[str]) -> None:
    windows = tuple(
        PlannedWindow(window(n), skipped="loaded" if n % 2 else "") for n in range(MANY // 10)
    )
    plans = [TablePlan(spec(f"t{n}"), windows) for n in range(300)]
    with disable_run_logger():
        many = {f"t{n}": REASON for n in range(MANY)}
        backfill_page.show_plan(plans, many, many)
    assert size(pages[0]) < 2 * PAGE_BYTES


def test_a_run_of_many_tables_of_which_all_fail(pages: list[str]) -> None:
    names = [f"raw_data.t{n}" for n in range(MANY)]
    receipts = {name: receipt(n) for n, name in enumerate(names)}
    late = {
        name: [
            *(Outcome(name, window(n), receipt(n)) for n in range(100)),
            *[Outcome(name, window(0), reason=REASON)] * 100,
        ]
        for name in names[:90]
    }
    with disable_run_logger():
        sync_all._show(receipts, dict.fromkeys(names, REASON), late)
    assert size(pages[0]) < 2 * PAGE_BYTES
    assert "| and 4,800 more |" in pages[0]


def test_summaries_of_which_all_fail() -> None:
    failures = {f"analytics.s{n}": f"{n}: {REASON}" for n in range(MANY)}
    state = Published(failures=failures).after("carried")
    assert size(state.message) < MESSAGE_BYTES
    assert (state.message or "").endswith("and 4,980 more")


def test_an_audit_of_many_tables_of_which_many_differ(pages: list[str]) -> None:
    specs = [spec(f"t{n}") for n in range(MANY // 10)]
    buckets = tuple(
        AuditedBucket(f"{n} {REASON[:90]}", window(n), unclassified=5) for n in range(300)
    )
    audits = {str(each.target): Audit(str(each.target), START, buckets) for each in specs[1:]}
    equal = Audit(str(specs[0].target), START, ())
    names = {f"raw_data.t{n}": REASON for n in range(MANY)}
    with disable_run_logger():
        audit_page.show_audits({equal.table: equal} | audits, specs, names, names, names.values())
    assert size(pages[0]) < 4 * PAGE_BYTES
    assert "more tables: see `ferry.audits`" in pages[0]
    assert equal.table not in pages[0].partition("| and 300 more |")[0]  # those that differ first


def test_the_coverage_of_many_tables_of_which_none_can_be_told() -> None:
    page = overview_page([], {f"raw_data.t{n}": REASON for n in range(MANY)})
    assert size(page) < PAGE_BYTES
    assert "and 4,800 more" in page
