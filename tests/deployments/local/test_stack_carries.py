"""The whole stack: up, a worker that carries tables on demand and by schedule, and down again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg2
import psycopg2.extensions
import pymysql
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events import Event, Resource
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments import deploy, register
from deployments.local.shop import a_day_passes
from deployments.local.stack import Stack
from deployments.local.stack.__main__ import main
from tests.flows.pipeline import forks
from tests.harness.api import PATIENCE, eventually

REPOSITORY = Path(__file__).parents[3]
OF_THE_SHELL = {
    "FERRY_TABLES": "/of/theirs",
    "FERRY_NOTIFY_SLACK_URL": "of theirs",
    "PREFECT_API_URL": "http://127.0.0.1:9/api",
}
"""What a person has set for production; nothing of it is to reach the stack."""
SECRETS = ("MYSQL_PASSWORD", "S3_SECRET_KEY", "WAREHOUSE_PASSWORD")


@dataclass
class Running:
    """A stack that runs, and what bringing it up printed."""

    folder: Path
    stack: Stack
    printed: str

    @property
    def client(self) -> SyncPrefectClient:
        env = self.stack.env
        return SyncPrefectClient(env["PREFECT_API_URL"], auth_string=env["PREFECT_API_AUTH_STRING"])

    def run(self, deployment: str, parameters: dict[str, Any]) -> None:
        """A run of the deployment by the stack's worker; it has to be completed."""
        with self.client as client:
            found = client.read_deployment_by_name(deployment)
            run = client.create_flow_run_from_deployment(found.id, parameters=parameters)
            ended = eventually(partial(_ended, client, run.id), PATIENCE)
            assert ended and ended.is_completed(), ended

    def prefect(self, *arguments: str) -> str:
        """What the prefect command printed; it has to succeed."""
        done = forks.finished(["prefect", *arguments], env={**os.environ, **self.stack.env})
        assert done.returncode == 0, done.stdout
        return done.stdout

    def source(self) -> pymysql.Connection[Any]:
        env = self.stack.env
        return pymysql.connect(
            host=env["FERRY_MYSQL_HOST"],
            port=int(env["FERRY_MYSQL_PORT"]),
            user=env["FERRY_MYSQL_USER"],
            password=env["FERRY_MYSQL_PASSWORD"],
            database=env["FERRY_MYSQL_DATABASE"],
            ssl_ca=env["FERRY_MYSQL_CA"],
        )

    def in_source(self, table: str) -> list[tuple[Any, ...]]:
        with self.source() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            return list(cursor.fetchall())

    def target(self) -> psycopg2.extensions.connection:
        env = self.stack.env
        connection = psycopg2.connect(
            host=env["FERRY_WAREHOUSE_HOST"],
            port=env["FERRY_WAREHOUSE_PORT"],
            user=env["FERRY_WAREHOUSE_USER"],
            password=env["FERRY_WAREHOUSE_PASSWORD"],
            dbname=env["FERRY_WAREHOUSE_DATABASE"],
        )
        connection.autocommit = True
        return connection

    def in_target(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(self.target()) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    def compare(self) -> None:
        """Every row and value of both tables is the same in source and target."""
        for table in ("nps", "orders"):
            assert self.in_target(f"SELECT * FROM raw_data.{table} ORDER BY id") == self.in_source(
                table
            )


def _ended(client: SyncPrefectClient, run_id: UUID) -> State | None:
    state = client.read_flow_run(run_id).state
    return state if state and state.is_final() else None


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployments.local.stack", "--folder", str(folder), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **OF_THE_SHELL},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


@pytest.fixture(scope="module")
def running(unused_home: Path) -> Iterator[Running]:
    """The stack, in a folder that PostgreSQL's user can reach, so that its data go away with it."""
    with tempfile.TemporaryDirectory(prefix="ferry-stack-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        shutil.copytree(unused_home, folder / "prefect" / "home")
        first = command(folder, "up", "--nps-rows", "3100", "--orders-rows", "310")
        assert first.returncode == 0, first.stdout + first.stderr
        stack = Stack.load(folder)
        assert stack is not None
        yield Running(folder, stack, first.stdout + first.stderr)
        down = command(folder, "down")
        assert (
            down.stdout
            == "Stopped: watcher, worker, prefect, prices, redshift, postgres, s3, mariadb.\n"
        )
        assert not any(process.alive() for process in stack.processes)


def test_up_prints_where_the_ui_is_and_can_be_repeated(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*arguments: str) -> str:
        assert main(["--folder", str(running.folder), *arguments]) == 0
        return capsys.readouterr().out

    assert "Prefect UI:  http://127.0.0.1:" in running.printed
    assert printed("up").startswith("The stack is up already.")
    assert printed("query", "SELECT 1 AS one") == "one\n1\n"
    assert printed("status").count(" runs ") == 8


def test_prefect_s_api_answers_only_with_the_stack_s_auth_string_which_a_private_file_exports(
    running: Running,
) -> None:
    exports = running.stack.prefect_env_path
    assert exports.stat().st_mode & 0o077 == 0
    assert f". {exports}" in running.printed
    api = running.stack.env["PREFECT_API_URL"]
    for auth in (None, ("x", "y")):
        answer = httpx.post(f"{api}/work_pools/filter", json={}, auth=auth, trust_env=False)
        assert answer.status_code == 401
        assert "ferry-pool" not in answer.text
    outside = {name: v for name, v in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        ["sh", "-c", f". {exports}; {sys.executable} -m prefect work-pool ls"],
        cwd=REPOSITORY,
        env=outside
        | {"PREFECT_HOME": str(running.folder / "nobody"), "PREFECT_API_AUTH_STRING": "x:y"}
        | {"COLUMNS": "200"}
        | {"PREFECT_API_URL": api},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ferry-pool" in done.stdout


def test_the_deployments_are_there_with_their_schedules(running: Running) -> None:
    with running.client as client:
        listed = {deployment.name for deployment in client.read_deployments()}
        daily = client.read_deployment_by_name("sync-all/daily").schedules
        prices = client.read_deployment_by_name("update-symbols/daily").schedules
    assert listed >= {"daily", "hourly", "on-demand"}
    for (found,), hour in ((daily, 9), (prices, 10)):
        assert isinstance(found.schedule, CronSchedule)
        assert found.schedule.cron == f"0 {hour} * * *"


def test_registering_and_deploying_again_is_safe(
    running: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in running.stack.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["register", "--profile", "local"])
    server = {
        PREFECT_API_URL: running.stack.env["PREFECT_API_URL"],
        PREFECT_API_AUTH_STRING: running.stack.env["PREFECT_API_AUTH_STRING"],
    }
    with temporary_settings(server):
        register.main()
    assert capsys.readouterr().out.splitlines() == [
        "registered mysql-source/shop",
        "registered s3-stage/lake",
        "registered redshift-warehouse/warehouse",
        "registered price-api-source/prices",
        "registered ferry-readers-prices",
        "registered ferry-backfill-readers-prices",
        "registered ferry-readers-shop",
        "registered ferry-backfill-readers-shop",
    ]
    monkeypatch.setattr(subprocess, "run", forks.finished)
    with temporary_settings(server):
        deploy.main()
    deployed = capsys.readouterr().out
    with running.client as client:
        listed = client.read_deployments()
    assert len(deployed.splitlines()) == len(listed)  # and no setting that differs


def test_a_worker_carries_a_day_on_demand(running: Running) -> None:
    run = ("deployment", "run", "sync-table/on-demand", "--param", "table=nps")
    printed = running.prefect(*run, "--param", "run_date=2023-01-05", "--watch")
    assert "Completed" in printed
    expected = [r for r in running.in_source("nps") if f"{r[1]:%F}" == "2023-01-05"]
    assert running.in_target("SELECT * FROM raw_data.nps ORDER BY id") == expected
    assert running.in_target(
        "SELECT rows_extracted, rows_staged, rows_copied, rows_inserted FROM ferry.receipts"
    ) == [(len(expected),) * 4]


def test_a_worker_updates_symbols(running: Running) -> None:
    running.run("update-symbols/daily", {"run_date": "2024-03-08"})
    found = running.in_target("SELECT COUNT(*), MIN(date), MAX(date) FROM raw_data.stock_prices")
    assert found == [(25, date(2024, 3, 4), date(2024, 3, 8))]


def test_a_worker_fills_a_range_of_which_a_day_is_there(running: Running) -> None:
    days = {"start_date": "2023-01-01", "end_date": "2023-02-01"}
    running.run("backfill/on-demand", {"table": "nps", **days})

    expected = running.in_source("nps")
    assert running.in_target("SELECT * FROM raw_data.nps ORDER BY id") == expected
    assert running.in_target(
        "SELECT COUNT(*), SUM(rows_inserted), SUM(rows_unchanged) FROM ferry.receipts WHERE "
        "table_name = 'raw_data.nps' AND window_label BETWEEN '2023-01-01' AND '2023-01-31'"
    ) == [(31, len(expected), 0)]


def test_a_worker_carries_yesterday_by_schedule_and_source_and_target_are_equal(
    running: Running,
) -> None:
    running.run("sync-table/on-demand", {"table": "orders", "mode": "full"})
    running.compare()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    with running.source() as connection:
        counts = a_day_passes(connection, yesterday, changed_rows=20, deleted_rows=5)
    with running.client as client:
        daily = client.read_deployment_by_name("sync-all/daily")
        often = IntervalSchedule(interval=timedelta(seconds=20))
        (schedule,) = client.create_deployment_schedules(daily.id, [(often, True)])

    receipts: list[tuple[Any, ...]] = []
    deadline = time.monotonic() + 180
    while len(receipts) < 2 and time.monotonic() < deadline:
        time.sleep(1)
        receipts = running.in_target(
            "SELECT table_name, rows_extracted, rows_inserted, rows_updated FROM ferry.receipts "
            f"WHERE mode = 'window' AND window_label = '{yesterday}' ORDER BY finished_at"
        )
    with running.client as client:
        client.delete_deployment_schedule(daily.id, schedule.id)

    assert sorted(receipts[:2]) == [
        ("raw_data.nps", counts.nps_added, counts.nps_added, 0),
        ("raw_data.orders", counts.orders_added + 25, counts.orders_added, 25),
    ]
    running.compare()


NPS_IN_THE_SHOP = """
SELECT DATE(created_at), ROUND(100 * (SUM(score >= 9) - SUM(score <= 6)) / COUNT(score), 2),
       COUNT(score)
FROM nps GROUP BY 1 HAVING COUNT(score) > 0 ORDER BY 1
"""


def test_the_nps_by_day_has_followed_and_is_what_the_shop_itself_works_out(
    running: Running,
) -> None:
    with running.source() as connection, connection.cursor() as cursor:
        cursor.execute(NPS_IN_THE_SHOP)
        expected = list(cursor.fetchall())

    def published() -> list[tuple[Any, ...]]:
        return running.in_target("SELECT day, nps, responses FROM analytics.nps_summary ORDER BY 1")

    eventually(lambda: published() == expected, seconds=60)  # the run may be at it still
    assert published() == expected
    assert len(expected) == 32


def test_an_event_of_somebody_else_builds_the_summaries_of_the_table(running: Running) -> None:
    count = "SELECT COUNT(*) FROM ferry.publications WHERE window_label = 'all'"
    before = running.in_target(count)

    resource = Resource({"prefect.resource.id": "ferry.table.raw_data.nps"})
    event = Event(event="ferry.table.changed", resource=resource)
    with running.client as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")])

    assert eventually(lambda: running.in_target(count) > before, seconds=120)
    latest = running.in_target(
        "SELECT summary FROM ferry.publications ORDER BY published_at DESC LIMIT 1"
    )
    assert latest[0][0] in ("analytics.nps_summary", "analytics.nps_monthly_summary")


def test_no_secret_is_printed_logged_or_stored_in_plain_text(running: Running) -> None:
    logs = "".join(process.log_path.read_text() for process in running.stack.processes)
    logs += (running.folder / "redshift" / "statements.jsonl").read_text()
    database = b"".join(p.read_bytes() for p in (running.folder / "prefect").rglob("prefect.db*"))
    found = [running.stack.env[f"FERRY_{name}"] for name in SECRETS]
    found.append(running.stack.env["PREFECT_API_AUTH_STRING"].partition(":")[2])
    arguments = [Path(f"/proc/{p.pid}/cmdline").read_text() for p in running.stack.processes]
    logs += "".join(arguments)
    for secret in found:
        assert secret not in running.printed + logs
        assert secret.encode() not in database
