"""Progress of a long extraction: in the log, and as an artifact on the run's page."""

import re
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from blocks.stages import FolderStage
from ferry.errors import ConnectionLostError
from tasks.pages import progress
from tests.harness.api import Api, eventually

FIVE_HUNDRED = 500


@pytest.fixture
def sync(journey: Any) -> Callable[[], str]:
    """Carries a table that is read in ten batches; returns the run's id."""
    from flows.sync_table import sync_table

    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(20))")
    rows = [(n, f"note {n}") for n in range(FIVE_HUNDRED)]
    journey.sql("INSERT INTO orders VALUES (?, ?)", rows)
    journey.source.batch_rows = 50
    journey.source.save(journey.name, overwrite=True)
    journey.write_specs(orders={"mode": "full", "key": ["id"]})
    return lambda: sync_table(table="orders").flow_run_id


pytestmark = pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
EXTRACT = re.compile(r"^extract \S+ full: ([\d,]+) rows, [\d.]+ MB, [\d,]+ rows/s(.*)$")


def reports(api: Api, flow_run_id: str) -> list[re.Match[str]]:
    return [match for line in api.log(flow_run_id) if (match := EXTRACT.match(line))]


def test_a_long_extraction_tells_rows_rate_and_time_left(
    sync: Callable[[], str], api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "REPORT_EVERY_SECONDS", 0.0)

    flow_run_id = sync()

    assert eventually(lambda: any(match[1] == "500" for match in reports(api, flow_run_id)))
    told = reports(api, flow_run_id)
    rows = [int(match[1].replace(",", "")) for match in told]
    assert len(rows) > 3
    assert rows == sorted(rows)
    assert all(n % 50 == 0 for n in rows)
    assert any(re.fullmatch(r", about [\d,]+ s left", match[2]) for match in told)
    (artifact,) = [a for a in api.artifacts(flow_run_id) if a.type == "progress"]
    assert float(artifact.data) == 100.0
    assert str(artifact.description).endswith("full: done")
    assert str(artifact.key).startswith("extract-")


@pytest.mark.usefixtures("plain_runs")
def test_a_copy_that_goes_on_is_measured_by_what_it_still_reads(
    sync: Callable[[], str], journey: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    journey.source.batch_rows = 10
    journey.source.save(journey.name, overwrite=True)
    spec = {"mode": "full", "key": ["id"], "resume_rows": 100, "retries": 1}
    journey.write_specs(orders={**spec, "retry_delay_seconds": 0})
    put, interrupted, expected = FolderStage.put, list[str](), list[int | None]()

    def fails_once(stage: FolderStage, part: Any, key: str) -> Any:
        if "piece-00003" in key and not interrupted:
            interrupted.append(key)
            raise ConnectionLostError("the network is gone")
        return put(stage, part, key)

    def rows_line(rows: int, size_bytes: int, seconds: float, of: int | None) -> str:
        if of not in expected:
            expected.append(of)
        return ""

    monkeypatch.setattr(FolderStage, "put", fails_once)
    monkeypatch.setattr(progress, "FIRST_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "rows_line", rows_line)
    sync()

    whole, rest = expected
    assert interrupted and whole and rest
    assert 0 < rest < whole


@pytest.mark.timeout(90)
def test_a_server_that_does_not_answer_keeps_nothing_waiting(
    sync: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "REPORT_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "DONE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def ask(*_: Any, **__: Any) -> None:
            httpx.post(f"http://127.0.0.1:{silent.getsockname()[1]}/api/artifacts/", timeout=None)

        monkeypatch.setattr(progress, "create_progress_artifact", ask)
        sync()  # five hundred rows have arrived meanwhile
        silent.accept()[0].close()  # it was asked


def test_a_short_extraction_tells_nothing(sync: Callable[[], str], api: Api) -> None:
    flow_run_id = sync()
    assert eventually(lambda: any("500 rows" in line for line in api.log(flow_run_id)))
    assert reports(api, flow_run_id) == []
    assert [a for a in api.artifacts(flow_run_id) if a.type == "progress"] == []


def test_what_cannot_be_shown_costs_no_extraction_and_is_told_without_its_text(
    sync: Callable[[], str], api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of the process's own that does not come up in time is a RuntimeError."""
    monkeypatch.setattr(progress, "FIRST_REPORT_SECONDS", 0.0)

    def nobody_answers(*_: Any, **__: Any) -> None:
        raise RuntimeError("p1anted")

    monkeypatch.setattr(progress, "create_progress_artifact", nobody_answers)
    flow_run_id = sync()
    said = "progress could not be shown: RuntimeError"
    assert eventually(lambda: said in api.log(flow_run_id))
