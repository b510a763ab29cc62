"""Nothing is published that has not passed its checks, and no reader ever sees half of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from deployments.local.redshift_double import Fault
from flows.build_summary import build_summary
from flows.pipeline.summaries.follow import follow_tables
from flows.sync_table import sync_table
from tests.harness.survey import SPEC

pytestmark = pytest.mark.usefixtures("plain_runs")

DUCKDB = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
REDSHIFT = pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
HERE_AND_THERE = pytest.mark.parametrize(
    "route", ["sqlite-folder-duckdb", "mysql-s3-redshift"], indirect=True
)


@contextmanager
def reader(survey: Any, view: str | None = None) -> Iterator[set[Any]]:
    """Everything that somebody sees who asks for the whole table again and again meanwhile."""
    seen: set[Any] = set()
    errors: list[Exception] = []
    stop = threading.Event()
    select = f'SELECT day, responses FROM "{survey.journey.schema}".{view or "nps_summary"}'

    def read() -> None:
        while True:
            try:
                seen.add(tuple(sorted(survey.journey.warehouse.fetch(select))))
            except Exception as error:  # noqa: BLE001  # told by the test itself
                errors.append(error)
            if stop.wait(0.01):
                return

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
    assert errors == []


def rows(*days: tuple[int, int]) -> Any:
    return tuple((date(2023, 1, day), responses) for day, responses in days)


@HERE_AND_THERE
def test_a_bad_day_is_stopped_and_readers_go_on_seeing_the_old_table(survey: Any):
    survey.answer(3, [9] * 10)
    survey.answer(4, [8] * 10)
    sync_table(table="nps", mode="full")
    survey.answer(4, [7] * 5 + [99])

    with reader(survey) as seen:
        failed = sync_table(table="nps", run_date=date(2023, 1, 4), return_state=True)

    assert seen == {rows((3, 10), (4, 10))}
    assert failed.is_failed()
    for part in (
        "6 inserted",
        "These rows have arrived",
        f"{survey.journey.schema}.nps_summary 2023-01-04",
        "scores are 0 to 10",
        "expected no rows outside of 0 to 10; found 1 rows",
        "waits for",
    ):
        assert part in failed.message
    assert [r.rows_inserted for r in survey.journey.receipts("nps")] == [20, 6]
    assert survey.checks("failed") == [
        ("scores are 0 to 10", "no rows outside of 0 to 10", "1 rows outside of 0 to 10")
    ]
    assert survey.labels() == ["all"]

    survey.journey.sql("UPDATE nps SET score = 9 WHERE score = 99")
    sync_table(table="nps", run_date=date(2023, 1, 4))

    assert survey.published(columns="day, responses") == list(rows((3, 10), (4, 16)))
    assert survey.labels() == ["all", "2023-01-04"]
    assert survey.labels("nps_monthly_summary") == ["all", "2023-01-01/2023-02-01"]
    assert survey.journey.leftovers() == set()


def test_a_reader_sees_the_old_table_or_the_new_one_and_its_views_stay(survey: Any):
    survey.edit("nps_summary", "summary.yaml", "publish: by_window", "publish: replace")
    for day in (3, 4):
        survey.answer(day, [9] * 10)
    sync_table(table="nps", mode="full")
    name = f'"{survey.journey.schema}".'
    survey.journey.warehouse.execute(
        f"CREATE VIEW {name}boss AS SELECT day, responses FROM {name}nps_summary"
    )
    for day in (3, 4, 5):
        survey.answer(day, [9])

    with reader(survey, "boss") as seen:
        sync_table(table="nps", mode="full")

    old, new = rows((3, 10), (4, 10)), rows((3, 11), (4, 11), (5, 1))
    assert seen <= {old, new}
    assert old in seen
    assert tuple(survey.journey.target("boss", order="1")) == new


@DUCKDB
def test_a_day_that_shrinks_is_held_back_until_somebody_accepts_it(survey: Any):
    survey.answer(3, [9] * 10)
    survey.answer(4, [8] * 10)
    sync_table(table="nps", mode="full")
    survey.journey.sql("DELETE FROM nps WHERE id > 15")

    held = sync_table(table="nps", mode="full", return_state=True)
    assert "expected none fallen by more than 20 %; found 2023-01-04 by -50.0 %" in held.message
    assert survey.published(columns="day, responses") == list(rows((3, 10), (4, 10)))

    with_a_typo = build_summary(summary="nps_summary", accept=["nobody's"], return_state=True)
    assert "no check is called" in with_a_typo.message
    done = build_summary(
        summary="nps_summary", accept=["no published day loses a fifth of its responses"]
    )
    assert set(done) == {"nps_summary", "nps_monthly_summary"}
    assert survey.published(columns="day, responses") == list(rows((3, 10), (4, 5)))
    assert len(survey.checks("accepted")) == 1
    assert len(survey.checks("warned")) == 2


@DUCKDB
def test_what_is_accepted_of_one_summary_is_not_of_those_that_follow_it(survey: Any):
    survey.answer(3, [9] * 3)
    sync_table(table="nps", mode="full")
    for name in ("nps_summary", "nps_monthly_summary"):
        survey.edit(name, "summary.yaml", "min: -100", "min: 50")
    survey.journey.sql("UPDATE nps SET score = 0")
    sync_table(table="nps", mode="full", return_state=True)

    state = build_summary(summary="nps_summary", accept=["bounds nps"], return_state=True)

    assert "1 of 2 summaries failed" in state.message
    assert "nps_monthly_summary" in state.message and "bounds nps" in state.message
    assert [row[1] for row in survey.published()] == [-100]
    assert [row[1] for row in survey.published("nps_monthly_summary", "month, nps")] == [100]


@DUCKDB
def test_rows_outside_of_the_window_are_not_published_twice(survey: Any):
    survey.answer(3, [9])
    survey.answer(4, [9])
    sync_table(table="nps", mode="full")
    survey.edit("nps_summary", "query.sql", "created_at < :window_end", ":window_end IS NOT NULL")
    survey.edit("nps_summary", "query.sql", "created_at >= :w", "created_at + INTERVAL '9 d' >= :w")
    build_summary(summary="nps_summary")
    survey.answer(4, [9])

    failed = sync_table(table="nps", run_date=date(2023, 1, 4), return_state=True)

    assert "no row outside of the window" in failed.message
    assert survey.published(columns="day, responses") == list(rows((3, 1), (4, 1)))


@DUCKDB
def test_a_row_of_no_day_is_not_published_where_no_day_would_take_it_out(survey: Any):
    survey.answer(3, [9])
    survey.edit("nps_summary", "query.sql", "\n    day,", "\n    NULLIF(day, '2023-01-03') AS day,")
    survey.edit("nps_summary", "summary.yaml", "grain: [day]", "grain: [promoters]")
    counted = "- name: every response is counted once\n"
    survey.edit("nps_summary", "summary.yaml", counted, f"{counted}    severity: warn\n")

    failed = sync_table(table="nps", mode="full", return_state=True)

    assert "no row without its partition" in failed.message
    assert survey.labels() == []


@DUCKDB
def test_by_hand_days_are_built_and_what_is_missing_is_named(survey: Any):
    survey.answer(3, [9])
    missing = build_summary(summary="nps_summary", return_state=True)
    assert f"the warehouse does not have: {survey.journey.schema}.nps" in missing.message
    survey.answer(4, [0, 9])
    sync_table(table="nps", mode="full")

    built = build_summary(
        summary="nps_summary", start_date=date(2023, 1, 4), end_date=date(2023, 1, 5)
    )
    assert (built["nps_summary"].window_label, built["nps_summary"].rows_published) == (
        "2023-01-04",
        1,
    )
    assert built["nps_monthly_summary"].window_label == "2023-01-01/2023-02-01"

    for table in (f"{survey.journey.schema}.nps", f"{survey.journey.schema}.NPS", "nps"):
        built = build_summary(table=table)
        assert [each.window_label for each in built.values()] == ["all", "all"]
    unread = {**survey.journey.specs(), "orders": {"mode": "full"}}
    survey.journey.write_specs(**unread)
    assert build_summary(table="orders") == {}
    nps = f"{survey.journey.schema}.nps"
    there = f"summaries read: {nps}, {nps}_summary. "
    for name in ("raw_data.unknown", f"{nps}z", f" {nps} ", ".", ""):
        unknown = build_summary(table=name, return_state=True).message
        assert f"there is no table {name!r}" in unknown and there in unknown, unknown
    survey.journey.write_specs(**{name: unread[name] for name in ["nps"]})
    unknown = build_summary(table="npz", return_state=True).message
    assert "there is no table 'npz'" in unknown and "one of nps. " in unknown, unknown


@REDSHIFT
def test_a_publication_is_made_once_when_the_answer_to_commit_is_lost(
    survey: Any, redshift_double: Any
):
    def commits() -> list[Any]:
        """The sessions that committed since the double was last told to forget."""
        return [s for s in redshift_double.statements()[already:] if s.sql.lower() == "commit"]

    survey.answer(2, [9])
    sync_table(table="nps", mode="full")
    already = len(redshift_double.statements())
    survey.answer(3, [9, 9, 0])
    sync_table(table="nps", run_date=date(2023, 1, 3))
    publishing = [
        s.time
        for s in redshift_double.statements()[already:]
        if s.sql.startswith('INSERT INTO "ferry"."publications"')
    ]
    nth = 1 + sum(commit.time < publishing[0] for commit in commits())
    already = len(redshift_double.statements())
    pattern = r"^delete from .*nps_summary"
    redshift_double.inject(Fault("serialization", pattern=pattern, nth=1, times=1))
    redshift_double.inject(Fault("cut_after", pattern=r"^commit", nth=nth, times=1))
    survey.answer(4, [9])

    sync_table(table="nps", run_date=date(2023, 1, 4))

    (cut,) = [commit for commit in commits() if commit.outcome == "cut"]
    assert [
        s.outcome
        for s in redshift_double.statements()[already:]
        if s.session == cut.session and s.sql.startswith('INSERT INTO "ferry"."publications"')
    ] == ["ok"]
    assert survey.labels() == ["all", "2023-01-03", "2023-01-04"]
    assert survey.labels("nps_monthly_summary") == ["all"] + ["2023-01-01/2023-02-01"] * 2
    assert [row[2] for row in survey.published()] == [1, 3, 1]


@REDSHIFT
@pytest.mark.parametrize("asked", [r"svv_columns[\s\S]*'nps'", r"^SELECT definition"])
def test_a_connection_that_is_lost_while_a_summary_is_planned_is_made_again(
    survey: Any, redshift_double: Any, asked: str
):
    """What it reads, and what has changed there, is asked again, as its spec's `retries` say."""
    survey.answer(2, [9])
    sync_table(table="nps", mode="full")
    redshift_double.inject(Fault("cut_before", pattern=asked))

    build_summary(summary="nps_summary", start_date=date(2023, 1, 2), end_date=date(2023, 1, 3))

    assert redshift_double.struck() == 1
    assert survey.labels() == ["all", "2023-01-02"]


@DUCKDB
def test_a_publication_of_another_run_meanwhile_makes_it_be_built_again(
    survey: Any, monkeypatch: pytest.MonkeyPatch
):
    """What was read before the other run's table changed does not replace what it published."""
    from flows.pipeline.summaries import publish

    survey.answer(3, [9])
    sync_table(table="nps", mode="full")
    survey.answer(3, [8])
    before = publish.newest_rows
    interfered = []

    def another_run_publishes(spec: Any, warehouse: Any) -> Any:
        if not interfered:
            interfered.append(True)
            survey.journey.sql("DELETE FROM nps WHERE score = 9")
            sync_table(table="nps", mode="full")
        return before(spec, warehouse)

    monkeypatch.setattr(publish, "newest_rows", another_run_publishes)
    survey.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 99")

    sync_table(table="nps", run_date=date(2023, 1, 3))

    assert survey.published() == [(date(2023, 1, 3), Decimal("0.00"), 1)]


@DUCKDB
@pytest.mark.parametrize("loses", ["DROP TABLE {}", "DELETE FROM {}"])
def test_a_summary_that_is_lost_while_one_day_is_built_is_published_whole(
    survey: Any, monkeypatch: pytest.MonkeyPatch, loses: str
):
    from flows.pipeline.summaries import publish

    for day in (3, 4):
        survey.answer(day, [9])
    sync_table(table="nps", mode="full")
    survey.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 999")
    survey.answer(4, [8])
    before, lost = publish.newest_rows, []

    def somebody_empties_it(spec: Any, warehouse: Any) -> Any:
        rows = before(spec, warehouse)
        if not lost:
            lost.append(True)
            warehouse.execute(loses.format(f'"{survey.journey.schema}".nps_summary'))
        return rows

    monkeypatch.setattr(publish, "newest_rows", somebody_empties_it)

    sync_table(table="nps", run_date=date(2023, 1, 4))

    assert survey.published(columns="day, responses") == list(rows((3, 1), (4, 2)))
    assert survey.labels() == ["all", "all"]


@DUCKDB
def test_a_summary_never_replaces_a_table_that_is_carried(survey: Any):
    survey.answer(3, [9])
    survey.journey.write_specs(nps=SPEC, scores=SPEC)
    survey.edit("nps_monthly_summary", "summary.yaml", "owner:", "table: scores\nowner:")

    failed = sync_table(table="nps", mode="full", return_state=True)

    assert "would replace a table that is carried from a source" in failed.message
    assert len(survey.published()) == 1
    assert survey.labels("scores") == []


@DUCKDB
def test_what_a_summary_reads_and_no_run_tells_of_is_named_once_a_run(
    survey: Any, caplog: pytest.LogCaptureFixture
):
    def named() -> list[str]:
        told = [r.getMessage() for r in caplog.records if "not followed" in r.getMessage()]
        caplog.clear()
        return told

    schema = survey.journey.schema
    survey.ship("mau_summary")  # which is not there, and reads two tables that are not
    survey.answer(3, [9])
    sync_table(table="nps", mode="full")
    assert named() == []
    survey.journey.warehouse.execute(
        f'CREATE VIEW "{schema}".answers AS SELECT * FROM "{schema}".nps'
    )
    for file in ("query.sql", "summary.yaml"):
        survey.edit("nps_summary", file, f"{schema}.nps\n", f"{schema}.answers\n")
    survey.edit("nps_summary", "summary.yaml", f"{schema}.nps:", f"{schema}.answers:")
    survey.answer(3, [9])

    assert sync_table(table="nps", run_date=date(2023, 1, 3), return_state=True).is_completed()

    (told,) = named()
    assert f"{schema}.nps_summary reads {schema}.answers, neither a table of the specs nor" in told
    build_summary(summary="nps_summary")
    assert len(named()) == 1
    assert survey.published(columns="day, responses") == list(rows((3, 2)))


@DUCKDB
def test_summaries_that_cannot_be_read_do_not_hide_the_rows(survey: Any):
    survey.answer(3, [9])
    survey.edit("nps_summary", "summary.yaml", "owner:", "ownr:")

    failed = sync_table(table="nps", mode="full", return_state=True)

    assert "1 inserted" in failed.message
    assert "nps_summary/summary.yaml:3: ownr: Extra inputs" in failed.message
    assert len(survey.journey.receipts("nps")) == 1
    assert follow_tables([]).failures == {}


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
def test_a_summary_whose_rows_would_stay_beside_the_new_ones_is_not_published(survey: Any):
    survey.answer(3, [9] * 10)
    sync_table(table="nps", mode="full")
    table = f'"{survey.journey.schema}".nps_summary'
    survey.journey.warehouse.execute(f"CREATE RULE mine AS ON DELETE TO {table} DO INSTEAD NOTHING")
    state = build_summary(summary="nps_summary", return_state=True)
    assert state.is_failed()
    assert "the rule mine " in str(state.message)
    assert survey.published(columns="day, responses") == [(date(2023, 1, 3), 10)]
