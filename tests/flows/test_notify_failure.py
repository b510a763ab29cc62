"""Failed and crashed runs are told once, through Prefect's own Slack block, and never hidden."""

import logging
import os
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from apprise import URLBase
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment
from pydantic import SecretStr

from blocks import notifier
from deployments.local.servers import PrefectServer
from flows import notify_failure as notify
from flows.backfill_tables import backfill
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tasks.runs.notice_claims import NoticeClaim
from tests.flows.pipeline.forks import command
from tests.harness.api import Api, eventually
from tests.harness.failing import DAY, backstop, fail, make_shop, run_id
from tests.harness.slack import HOST, TOKEN, WEBHOOK, Slack

SOURCE = "sqlite-source"
UNKNOWN = "it is not known whether"
ALL_SAID = "nothing to do: the message was sent, or perhaps sent twice"
LOUD = "NOBODY WAS NOTIFIED of this failure by"


@pytest.fixture
def route() -> str:
    """One for all: what is told does not depend on it."""
    return "sqlite-folder-duckdb"


@pytest.fixture
def shop(journey: Any, slack: Slack) -> Any:
    return make_shop(journey)


def test_a_failed_run_is_told_once_with_table_window_reason_and_link(
    shop: Any, slack: Slack, prefect_server: PrefectServer
) -> None:
    state = fail()

    (message,) = slack.messages
    subject, *lines = message.splitlines()
    assert subject == "Ferry: sync nps 2023-01-05 failed"
    assert lines[:2] == ["Table: nps", "Window: 2023-01-05"]
    where = f"plan {shop.schema}.nps 2023-01-05 at {SOURCE}/{shop.name}"
    assert lines[2].startswith(f"Reason: FERRY-SCHEMA: {where}: there is no table")
    assert "Flow: sync-table, with run_date=2023-01-05" in lines
    assert lines[-1] == f"Run: {prefect_server.ui_url}/runs/flow-run/{run_id(state)}"
    assert slack.posted[0]["path"] == WEBHOOK.removeprefix(f"https://{HOST}")


def test_tables_that_fail_in_one_run_are_in_one_message(shop: Any, slack: Slack) -> None:
    state = sync_all(run_date=DAY, return_state=True)

    assert state.type is StateType.FAILED
    (message,) = slack.messages
    lines = message.splitlines()
    assert "Reason: 2 of 3 tables failed:" in lines
    assert "Window: 2023-01-05" in lines
    for table in ("nps", "visits"):
        where = f"- FERRY-SCHEMA: plan {shop.schema}.{table} 2023-01-05 at {SOURCE}/{shop.name}: "
        assert sum(line.startswith(where) for line in lines) == 1


def test_a_backfill_sends_one_summary_of_all_its_windows(shop: Any, slack: Slack) -> None:
    rows = [(None, "2023-01-02 12:00:00"), (None, "2023-01-03 12:00:00")]
    shop.sql("CREATE TABLE visits (id INT, modified DATETIME)")
    shop.sql("INSERT INTO visits VALUES (?, ?)", rows)

    days = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 5)}
    assert backfill(table="visits", **days, return_state=True).is_failed()

    (message,) = slack.messages
    lines = message.splitlines()
    assert lines[0] == "Ferry: backfill visits 2023-01-01 to 2023-01-05 failed"
    assert lines[2] == "Window: 2023-01-01 to 2023-01-04"
    (reason,) = (line for line in lines if line.startswith(f"Reason: {shop.schema}.visits: "))
    assert "2 windows failed, 2023-01-02 to 2023-01-03: FERRY-DATA: upsert" in reason
    assert "rows without a full key" in reason


@pytest.mark.parametrize("route", ["mysql-folder-duckdb"])
def test_no_secret_is_told(shop: Any, slack: Slack) -> None:
    shop.source.password = SecretStr("p1anted, and not the right one")
    shop.source.save(shop.name, overwrite=True)
    assert sync_table(table="orders", run_date=DAY, return_state=True).is_failed()
    (message,) = slack.messages
    assert "Access denied" in message or "password" in message
    assert "p1anted" not in message


def test_what_somebody_gave_a_run_reaches_slack_as_text_alone(shop: Any, slack: Slack) -> None:
    table = "<!channel> <http://evil.example/|nps> `x` &lt;!here&gt;"
    assert sync_table(table=table, run_date=DAY, return_state=True).is_failed()
    (posted,) = slack.posted
    sent = str(posted)
    assert "evil.example" in sent  # the name is told
    assert [sign for sign in ("<!", "<http://evil", "`", "|nps>", "<@") if sign in sent] == []


def test_success_is_not_told(shop: Any, slack: Slack) -> None:
    sync_table(table="orders", run_date=DAY)
    assert slack.posted == []


def test_a_run_that_is_retried_is_told_at_its_end(shop: Any, slack: Slack) -> None:
    retried = sync_table.with_options(retries=2, retry_delay_seconds=0)
    state = retried(table="nps", run_date=DAY, return_state=True)
    assert state.type is StateType.FAILED
    assert len(slack.messages) == 1
    assert backstop(run_id(state)).type is StateType.COMPLETED
    assert len(slack.messages) == 1


def test_a_run_whose_process_is_killed_is_told_once(shop: Any, slack: Slack, api: Api) -> None:
    sync_table.to_deployment("to-be-killed").apply()
    run: Any = run_deployment(
        "sync-table/to-be-killed",
        parameters={"table": "orders", "zone": "Asia/Tokyo"},
        scheduled_time=datetime(2023, 1, 5, 23, 30, tzinfo=UTC),  # in Tokyo, the next day
        timeout=0,
    )
    with closing(sqlite3.connect(shop.source.path)) as locked:
        locked.execute("BEGIN EXCLUSIVE")  # so the run waits, there, for its death
        execute = command("flow-run", "execute", str(run.id))
        try:
            assert eventually(lambda: api.flow_run(run.id).state_type is StateType.RUNNING, 60)
            assert execute.pid
            (child,) = children(execute.pid)
            os.kill(child, signal.SIGKILL)
            execute.join(60)
        finally:
            execute.kill()
            execute.join()

    assert api.flow_run(run.id).state_type is StateType.CRASHED
    (message,) = slack.messages
    lines = message.splitlines()
    assert lines[0].startswith("Ferry: ") and lines[0].endswith(" crashed")
    assert lines[1:3] == ["Table: orders", "Window: 2023-01-05"]
    assert lines[3].startswith("Reason: Process exited with status code: -9")
    assert "Flow: sync-table/to-be-killed, with zone=Asia/Tokyo" in lines
    assert str(run.id) in lines[-1]
    assert backstop(run.id).type is StateType.COMPLETED
    assert len(slack.messages) == 1


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("broken", ["refuses", "is down", "is not there", "cannot notify"])
def test_a_message_that_cannot_be_sent_is_logged_loudly_and_hides_nothing(
    shop: Any,
    slack: Slack,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    expected = "Error"
    if broken == "refuses":
        slack.status, expected = 500, "error=500"
    elif broken == "is down":
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        expected = "A Connection error occurred"
    elif broken == "is not there":
        monkeypatch.setenv("FERRY_NOTIFY", "slack-webhook/nobody")
        expected = "'slack-webhook/nobody' is not there"
    else:
        Secret(value="x").save("test-ferry", overwrite=True)
        monkeypatch.setenv("FERRY_NOTIFY", "secret/test-ferry")
        expected = "cannot notify"

    with caplog.at_level(logging.DEBUG):
        state = fail()

    (said,) = [r for r in caplog.records if LOUD in r.getMessage()]
    assert said.levelno == logging.ERROR
    assert expected in said.getMessage()
    assert TOKEN not in caplog.text
    run = api.flow_run(run_id(state))
    assert run.state_type is StateType.FAILED
    assert run.state and "there is no table 'nps'" in (run.state.message or "")
    assert eventually(lambda: [line for line in api.log(run.id) if LOUD in line])
    assert TOKEN not in "\n".join(api.log(run.id))


def with_its_retries(flow_run_id: UUID) -> State[Any]:
    """The backstop with the retries that it has, without the minutes between them."""
    flow = notify.notify_failure.with_options(retry_delay_seconds=0)
    state: State[Any] = flow(flow_run_id=flow_run_id, return_state=True)
    return state


def test_a_receiver_that_takes_its_time_gets_one_message(
    shop: Any, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apprise itself waits for four seconds."""
    slack.delay_seconds = 6
    failed = run_id(fail())
    assert with_its_retries(failed).message == ALL_SAID
    assert len(slack.messages) == 1


@pytest.mark.parametrize("how", ["answers too late", "hangs up"])
@pytest.mark.parametrize("block", ["slack-webhook", "custom-webhook"])
def test_a_receiver_that_does_not_answer_gets_two_messages_at_most(
    shop: Any,
    slack: Slack,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
    block: str,
) -> None:
    monkeypatch.setattr(notifier, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(URLBase, "socket_read_timeout", 1.0)
    slack.hangs_up, slack.delay_seconds = how == "hangs up", 3.0
    if block == "custom-webhook":
        address = f"{slack.env['HTTPS_PROXY']}/hook"
        fields = {"title": "{{subject}}", "text": "{{body}}"}
        CustomWebhookNotificationBlock(
            name="ours", url=address, json_data=fields, timeout=1.0
        ).save("test-ferry", overwrite=True)
    monkeypatch.setenv("FERRY_NOTIFY", f"{block}/test-ferry")

    with caplog.at_level(logging.INFO):
        failed = run_id(fail())
    (said,) = [r for r in caplog.records if UNKNOWN in r.getMessage()]
    assert said.levelno == logging.ERROR
    assert LOUD not in caplog.text and TOKEN not in caplog.text
    claim = api.client.read_variable_by_name(NoticeClaim.of(api.flow_run(failed), api.client).name)
    assert claim and claim.value == "perhaps sent"

    for _ in range(2):  # events may come twice
        assert with_its_retries(failed).type is StateType.COMPLETED
    slack.hangs_up, slack.delay_seconds = False, 0.0
    assert with_its_retries(failed).message == ALL_SAID
    first, second = map(str, slack.posted)
    assert "Sent once more: nobody answered the first time" in second
    assert "Sent once more" not in first


def test_a_refusal_after_a_message_that_was_perhaps_sent_is_tried_again(
    shop: Any, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack.hangs_up = True
    failed = run_id(fail())
    slack.hangs_up, slack.status = False, 500
    assert backstop(failed).type is StateType.FAILED
    slack.status = 200
    assert backstop(failed).type is StateType.COMPLETED
    assert [status for status in map(str, slack.posted) if "Sent once more" in status]
    assert len(slack.messages) == 3  # of which Slack took the last, and perhaps the first


def test_another_kind_of_block_notifies_too_and_its_address_is_told_no_more_than_slack_s(
    shop: Any,
    slack: Slack,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    CustomWebhookNotificationBlock(
        name="ours",
        url=f"{slack.env['HTTPS_PROXY']}/{{{{token}}}}",
        json_data={"title": "{{subject}}", "text": "{{body}}"},
        secrets={"token": TOKEN},
    ).save("test-ferry", overwrite=True)
    monkeypatch.setenv("FERRY_NOTIFY", "custom-webhook/test-ferry")

    with caplog.at_level(logging.DEBUG):
        fail()
        slack.status = 500
        fail()

    (sent, refused) = slack.posted
    assert sent["title"] == "Ferry: sync nps 2023-01-05 failed"
    assert sent["text"].startswith("Table: nps\nWindow: 2023-01-05\nReason: FERRY-SCHEMA: plan")
    assert sent["path"] == refused["path"] == f"/{TOKEN}"
    (said,) = [r.getMessage() for r in caplog.records if LOUD in r.getMessage()]
    assert "not sent; found HTTP 500" in said and "Look at the notification block" in said
    assert TOKEN not in caplog.text


def test_without_a_block_in_the_configuration_nobody_is_told(
    shop: Any, slack: Slack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("FERRY_NOTIFY")
    with caplog.at_level(logging.INFO):
        state = fail()
    (said,) = [r for r in caplog.records if "nobody is notified" in r.getMessage()]
    assert said.levelno == logging.INFO
    assert backstop(run_id(state)).message == "nobody is to be notified: FERRY_NOTIFY is not set"
    assert slack.posted == []


def test_under_a_misspelled_setting_the_hook_says_loudly_that_nobody_was_told(
    shop: Any, slack: Slack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("FERRY_NOTIFY")
    monkeypatch.setenv("FERRY_NOTFY", "slack-webhook/ferry")
    state: State[Any] = sync_table(table="nps", run_date=DAY, return_state=True)
    assert state.type is StateType.FAILED
    said = [r.getMessage() for r in caplog.records if "NOBODY WAS NOTIFIED" in r.getMessage()]
    assert len(said) == 1 and "no setting FERRY_NOTFY; expected FERRY_NOTIFY" in said[0]
    assert slack.posted == []


def test_an_address_in_the_place_of_a_block_s_name_is_told_nowhere(
    shop: Any,
    slack: Slack,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("FERRY_NOTIFY", WEBHOOK)
    with caplog.at_level(logging.DEBUG):
        failed = run_id(fail())
        refused = backstop(failed)
    said = [r.getMessage() for r in caplog.records if "NOBODY WAS NOTIFIED" in r.getMessage()]
    assert len(said) == 1 and "FERRY_NOTIFY names no notification block" in said[0]
    assert refused.type is StateType.FAILED and "FERRY_NOTIFY names no" in str(refused.message)
    assert eventually(lambda: [line for line in api.log(failed) if "NOBODY WAS" in line])
    assert TOKEN not in caplog.text + str(refused.message) + "\n".join(api.log(failed))
    assert slack.posted == []


def test_a_summary_that_its_check_held_back_is_told_with_check_expected_and_found(
    slack: Slack, survey: Any
) -> None:
    survey.answer(3, [9, 11])

    sync_table(table="nps", mode="full", return_state=True)

    (message,) = slack.messages
    name = f"{survey.journey.schema}.nps"
    assert message.startswith("Ferry: sync nps full failed\nTable: nps\n")
    assert f"{name} full: 2 read, 2 inserted" in message
    assert "These rows have arrived; not up to date are 2 summaries" in message
    where = f"{name}_summary all at duckdb-warehouse/{survey.journey.name}"
    why = "1 of 2 checks failed: scores are 0 to 10"
    assert f"FERRY-CHECK: input_check {where}: {why}" in message
    assert "expected no rows outside of 0 to 10; found 1 rows outside of 0 to 10" in message
