"""A table that is late is told once, and once that it has arrived; judged from receipts alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sys import modules
from typing import Any

import pytest
from prefect import flow
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import VariableUpdate
from prefect.client.schemas.objects import State, StateType
from pydantic import SecretStr

from blocks.warehouses import DuckDBWarehouse
from ferry.errors import AccessError, BusyError, ConnectionLostError
from ferry.schema import TableName
from flows.check_due import check_due
from flows.pipeline.run_report import RunReport
from flows.sync_table import sync_table
from tasks.landed import history
from tasks.runs import notice_claims
from tasks.runs.notice_claims import SENDING, all_claims
from tests.harness.plain_runs import BY_PREFECT
from tests.harness.slack import WEBHOOK, Slack

pytestmark = pytest.mark.usefixtures("plain_runs", "prefect_server")  # what is told is kept there
check_due_module = modules[check_due.fn.__module__]
LOOKS: list[Any] = []
"""The runs that dropped the looks that were missed before them; that is tested by itself."""
SPEC = {"mode": "window", "key": ["id"], "due": "00:00", "retries": 0}
FULL = {"mode": "full", "due": "00:00", "retries": 0}


@pytest.fixture
def route() -> str:
    """One for all: what is told does not depend on it."""
    return "sqlite-folder-duckdb"


@pytest.fixture
def shop(
    request: pytest.FixtureRequest,
    slack_server: Slack,
    journey: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    """A table, and Slack, which has heard nothing yet."""
    if "api" not in request.fixturenames:  # else the server has runs, and may have missed some
        monkeypatch.setattr(check_due_module, "drop_missed_looks", lambda _, run: LOOKS.append(run))
    LOOKS.clear()
    slack_server.posted.clear()
    slack_server.status, slack_server.hangs_up = 200, False
    for name, value in slack_server.env.items():
        monkeypatch.setenv(name, value)
    SlackWebhook(url=SecretStr(WEBHOOK)).save("test-due", overwrite=True)
    monkeypatch.setenv("FERRY_NOTIFY", "slack-webhook/test-due")
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO orders VALUES (?, ?)", [(1, f"{yesterday():%Y-%m-%d} 12:00:00")])
    yield journey


def yesterday() -> datetime:
    return datetime.now(UTC) - timedelta(days=1)


def check() -> State[Any]:
    state: State[Any] = check_due(return_state=True)
    return state


def subjects(slack: Slack) -> list[str]:
    return [message.partition("\n")[0] for message in slack.messages]


@BY_PREFECT
@pytest.mark.parametrize("spec", [SPEC, FULL], ids=["window", "full"])
def test_a_late_table_is_told_once_and_once_that_it_has_arrived(
    shop: Any, slack_server: Slack, spec: dict[str, Any]
) -> None:
    shop.write_specs(orders=spec)
    day = yesterday() if spec is SPEC else datetime.now(UTC)
    for _ in range(2):
        assert check().type is StateType.COMPLETED
    late = f"Ferry: orders for {day:%Y-%m-%d} is not loaded; due 00:00"
    assert subjects(slack_server) == [late]
    assert "docs/runbook.md, A table is late" in slack_server.messages[0]

    sync_table(table="orders", **({"run_date": day.date()} if spec is SPEC else {}))
    for _ in range(2):
        check()
    arrived = f"Ferry: orders for {day:%Y-%m-%d} has arrived after all"
    assert subjects(slack_server) == [late, arrived]


def test_a_table_that_is_there_in_time_is_not_told_and_not_asked_for_again(
    shop: Any, slack_server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write_specs(orders=SPEC)
    sync_table(table="orders", run_date=yesterday().date())
    assert "orders is there" in (check().message or "")
    shop.warehouse.path = shop.warehouse.path.with_name("gone.duckdb")
    shop.warehouse.save(shop.name, overwrite=True)
    assert check().type is StateType.COMPLETED
    assert slack_server.messages == []


def test_a_rerun_that_fails_does_not_make_a_table_late_that_is_there(
    shop: Any, slack_server: Slack
) -> None:
    shop.write_specs(orders=SPEC)
    sync_table(table="orders", run_date=yesterday().date())
    shop.sql("DROP TABLE orders")
    assert sync_table(table="orders", run_date=yesterday().date(), return_state=True).is_failed()
    assert "orders is there" in (check().message or "")
    assert not [each for each in subjects(slack_server) if "is not loaded" in each]


def test_a_table_without_a_deadline_is_none_of_its_business(shop: Any, slack_server: Slack) -> None:
    shop.write_specs(orders={"mode": "full"})
    assert [str(check().state_details.flow_run_id)] == [str(run) for run in LOOKS]
    assert slack_server.messages == []


@BY_PREFECT
def test_a_warehouse_that_cannot_be_asked_is_told_once_and_may_be_told_anew(
    shop: Any, slack_server: Slack
) -> None:
    shop.write_specs(orders=SPEC, visits=SPEC)
    path: Path = shop.warehouse.path
    for expected in (1, 2):
        path.unlink(missing_ok=True)
        path.mkdir()
        for _ in range(2):
            state = check()
            assert state.type is StateType.FAILED
        told = [each for each in subjects(slack_server) if "cannot be asked" in each]
        assert (
            told
            == [f"Ferry: nobody knows whether tables are late: {shop.name} cannot be asked"]
            * expected
        )
        path.rmdir()
        check()  # it answers


def test_a_prefect_server_that_gives_no_block_for_a_second_is_no_reason_for_a_message(
    shop: Any, slack_server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write_specs(orders=SPEC)
    sync_table(table="orders", run_date=yesterday().date())
    load, asked = check_due_module.load_warehouse, list[str]()

    def away_once(name: str) -> Any:
        asked.append(name)
        if len(asked) == 1:
            raise ConnectionLostError("as planned")
        return load(name)

    monkeypatch.setattr(check_due_module, "load_warehouse", away_once)
    monkeypatch.setattr(check_due_module, "PAUSE_SECONDS", 0.0)
    state = check()
    assert state.type is StateType.COMPLETED, state.message
    assert slack_server.messages == []


def test_a_table_that_cannot_be_asked_keeps_no_other_of_its_warehouse_from_being_judged(
    shop: Any, slack_server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is told once, however often others answer before it. DuckDB takes no rights away."""
    shop.write_specs(absent=SPEC, broken=SPEC, orders=SPEC)
    sync_table(table="orders", run_date=yesterday().date())
    ask = history.read_failures

    def refused(table: TableName, warehouse: Any) -> Any:
        if table.name == "broken":
            raise AccessError("permission denied")
        return ask(table, warehouse)

    monkeypatch.setattr(history, "read_failures", refused)
    told = [check().message or "" for _ in range(3)]
    assert "orders is there" in told[0]
    assert all(f"{shop.schema}.broken cannot be asked" in message for message in told)
    assert sorted(subjects(slack_server)) == [
        f"Ferry: absent for {yesterday():%Y-%m-%d} is not loaded; due 00:00",
        f"Ferry: nobody knows whether tables are late: {shop.schema}.broken cannot be asked",
    ]


def test_what_there_is_no_time_for_is_left_to_the_next_look(
    shop: Any, slack_server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write_specs(orders=SPEC, visits=SPEC, undue={"mode": "full"})
    with monkeypatch.context() as patch:
        patch.setattr(check_due_module, "LONGEST_SECONDS", -1.0)
        assert check().message == "2 tables are left to the next look"
    assert slack_server.messages == []
    assert "left" not in (check().message or "")
    assert len(subjects(slack_server)) == 2


def test_a_look_begins_with_the_tables_of_which_nothing_was_told(
    shop: Any, slack_server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {f"late_{number}": SPEC for number in range(5)}
    shop.write_specs(**late)
    check()
    assert len(subjects(slack_server)) == 5
    shop.write_specs(**late, new=SPEC)
    judged: list[str] = []
    monkeypatch.setattr(
        check_due_module._Check, "_table", lambda _, spec, *__: judged.append(spec.name)
    )
    check()
    assert judged[0] == "new" and sorted(judged[1:]) == sorted(late)


def test_what_was_told_is_read_once_for_all_tables(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands of tables there are claims of weeks: read for each one, that took minutes."""
    shop.write_specs(**{f"t{number}": SPEC for number in range(4)})
    check()
    with get_client(sync_client=True) as client:
        claims = all_claims(client, "due_", "unjudged_")
    noted, loaded = check_due_module._noted, check_due_module.load_warehouse
    read, loads = [], []
    monkeypatch.setattr(
        check_due_module, "_noted", lambda value: read.append(value) or noted(value)
    )
    monkeypatch.setattr(
        check_due_module, "load_warehouse", lambda name: loads.append(name) or loaded(name)
    )
    check()
    assert len(read) == len(claims) + 4  # and what each one's own claim says by then
    assert len(loads) == 1


@pytest.mark.parametrize("at_target", [False, True])
def test_a_warehouse_that_stays_busy_is_told_and_a_table_that_is_locked_for_a_while_is_not(
    shop: Any, slack_server: Slack, monkeypatch: pytest.MonkeyPatch, at_target: bool
) -> None:
    shop.write_specs(orders=SPEC)
    sync_table(table="orders", run_date=yesterday().date())

    def busy(*_: Any) -> Any:
        raise BusyError("as planned")

    monkeypatch.setattr(history, "why_gone" if at_target else "read_failures", busy)
    monkeypatch.setattr(check_due_module, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(check_due_module, "LOCKED_FOR", timedelta(days=2))
    told = f"Ferry: nobody knows whether tables are late: {shop.schema}.orders cannot be asked"
    assert (check().type is StateType.COMPLETED) == at_target
    assert subjects(slack_server) == ([] if at_target else [told])
    monkeypatch.setattr(check_due_module, "LOCKED_FOR", timedelta(0))
    assert check().type is StateType.FAILED
    assert subjects(slack_server) == [told]


@pytest.mark.parametrize("route", ["mysql-folder-postgres"])
def test_a_table_that_stays_locked_is_told_with_what_helps(
    shop: Any, slack_server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another limit of the block would not: the check has one of its own."""
    shop.write_specs(orders=SPEC)
    sync_table(table="orders", run_date=yesterday().date())
    monkeypatch.setattr(check_due_module, "LOCK_SECONDS", 1)
    monkeypatch.setattr(check_due_module, "LOCKED_FOR", timedelta(0))
    with shop.warehouse.transaction() as tx:
        tx.execute(f'LOCK TABLE "{shop.schema}"."orders" IN ACCESS EXCLUSIVE MODE')
        assert check().type is StateType.FAILED
    (message,) = slack_server.messages
    assert f"{shop.schema}.orders cannot be asked" in message
    assert "waits no longer than 60 s" in message and "pg_locks" in message
    assert "statement_timeout_seconds" not in message


def test_the_target_is_not_looked_at_for_a_table_that_is_late_by_its_receipts(
    shop: Any, slack_server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a batch lands, that would wait until it has: the message would come too late."""
    shop.write_specs(orders=SPEC)
    sync_table(table="orders", run_date=yesterday().date() - timedelta(days=1))

    def locked(*_: Any) -> str:
        raise AssertionError("the target was looked at")

    monkeypatch.setattr(history, "why_gone", locked)
    assert check().type is StateType.COMPLETED
    assert len(subjects(slack_server)) == 1


def test_the_catalog_is_not_asked_for_a_table_that_is_there(
    shop: Any, slack_server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Redshift it waits while another table lands: this one could not be judged meanwhile."""
    shop.write_specs(orders=SPEC)
    sync_table(table="orders", run_date=yesterday().date())
    describe, asked = DuckDBWarehouse.describe, list[str]()

    def noted(warehouse: DuckDBWarehouse, table: TableName, *tx: Any) -> Any:
        asked.append(table.name)
        return describe(warehouse, table, *tx)

    monkeypatch.setattr(DuckDBWarehouse, "describe", noted)
    assert "orders is there" in (check().message or "")
    assert "orders" not in asked


@pytest.mark.parametrize("statement", ["DROP TABLE", "DELETE FROM"])
def test_a_table_whose_rows_are_gone_is_late(
    shop: Any, slack_server: Slack, statement: str
) -> None:
    shop.write_specs(orders=SPEC)
    sync_table(table="orders", run_date=yesterday().date())
    shop.warehouse.execute(f"{statement} {shop.schema}.orders")
    check()
    late = f"Ferry: orders for {yesterday():%Y-%m-%d} is not loaded; due 00:00"
    assert subjects(slack_server) == [late]


def test_specs_that_cannot_be_read_are_told_once(shop: Any, slack_server: Slack) -> None:
    shop.specs_file.write_text("tables: [")
    for _ in range(2):
        assert check().type is StateType.FAILED
    assert len(subjects(slack_server)) == 1
    shop.write_specs(orders={"mode": "full"})
    assert check().type is StateType.COMPLETED


def test_a_message_that_cannot_be_sent_is_sent_by_the_next_look(
    shop: Any, slack_server: Slack
) -> None:
    shop.write_specs(orders=SPEC)
    slack_server.status = 500
    assert check().type is StateType.FAILED
    slack_server.status, before = 200, len(slack_server.posted)
    check()
    assert len(slack_server.posted) == before + 1


@pytest.mark.parametrize("answers_then", [True, False])
def test_a_message_that_nobody_answered_is_sent_once_more_and_no_third_time(
    shop: Any, slack_server: Slack, answers_then: bool
) -> None:
    shop.write_specs(orders=SPEC)
    day, expected = f"{yesterday():%Y-%m-%d}", []
    for told in (f"{day} is not loaded; due 00:00", f"{day} has arrived after all"):
        slack_server.hangs_up = True
        assert check().type is StateType.FAILED
        slack_server.hangs_up = not answers_then
        assert (check().type is StateType.COMPLETED) is answers_then
        assert check().type is StateType.COMPLETED
        expected += 2 * [f"Ferry: orders for {told}"]
        assert subjects(slack_server) == expected
        sync_table(table="orders", run_date=yesterday().date())
    again = ["Sent once more: nobody answered" in each for each in slack_server.messages]
    assert again == [False, True, False, True]


def test_two_looks_at_once_tell_once_that_a_table_has_arrived(
    shop: Any, slack_server: Slack
) -> None:
    shop.write_specs(orders=SPEC)
    check()

    @flow
    def two_looks() -> None:
        with get_client(sync_client=True) as client:
            slug = check_due_module.notifier_slug()
            looks = [check_due_module._Check(client, slug, RunReport()) for _ in range(2)]
            sync_table(table="orders", run_date=yesterday().date())
            for each in looks:
                each.all()

    two_looks()
    told = [each for each in subjects(slack_server) if "has arrived after all" in each]
    assert len(told) == 1


def test_of_a_message_whose_sender_died_it_is_told_that_the_table_has_arrived(
    shop: Any, slack_server: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender of `late` died before it knew: the claim still says that it is being sent."""
    shop.write_specs(orders=SPEC)
    check()
    with get_client(sync_client=True) as client:
        (claim,) = [name for name in all_claims(client) if shop.schema in name]
        client.update_variable(VariableUpdate(name=claim, value=SENDING))
    sync_table(table="orders", run_date=yesterday().date())
    check()
    assert len(slack_server.messages) == 1  # its sender may still be at it
    monkeypatch.setattr(notice_claims, "SENDING_FOR", timedelta(0))
    for _ in range(2):
        check()
    assert ["arrived" in each for each in subjects(slack_server)] == [False, True]
