"""Blocks are found by their names, all that a table needs in one request to Prefect's server."""

from __future__ import annotations

import re
import socket
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from blocks.registry import load_blocks, load_warehouse
from blocks.stages import FolderStage
from deployments import register
from deployments.local.servers import free_port
from ferry.errors import AccessError, ConfigurationError, ConnectionLostError, FerryError
from tests.blocks.stages.s3_server import refuse, server
from tests.harness.saved_blocks import save

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def name() -> str:
    return f"b-{uuid.uuid4().hex[:10]}"


def test_three_blocks_come_with_their_secrets_in_one_request(
    name: str, mysql_source: Any, s3_stage: Any, redshift_warehouse: Any, monkeypatch: Any
) -> None:
    given = (mysql_source[0], s3_stage, redshift_warehouse)
    for block in given:
        save(block, name)
    asked: list[str] = []
    request = SyncPrefectClient.request

    def counted(client: Any, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(path)
        return request(client, method, path, *args, **kwargs)

    monkeypatch.setattr(SyncPrefectClient, "request", counted)
    loaded = load_blocks(name, name, name)
    assert [block.model_dump() for block in loaded] == [block.model_dump() for block in given]
    assert [block.slug for block in loaded] == [
        f"{slug}/{name}" for slug in ("mysql-source", "s3-stage", "redshift-warehouse")
    ]
    assert asked == ["/block_documents/filter"]


def test_two_blocks_of_one_name_are_refused(
    name: str, folder_stage: Any, s3_stage: Any, sqlite_source: Any, duckdb_warehouse: Any
) -> None:
    for block in (folder_stage, s3_stage, sqlite_source[0], duckdb_warehouse):
        save(block, name)
    with pytest.raises(ConfigurationError) as caught:
        load_blocks(name, name, name)
    said = str(caught.value)
    assert f"there are several stage blocks named {name!r}" in said
    assert f"s3-stage/{name}" in said and f"folder-stage/{name}" in said
    assert "prefect block delete" in said


def test_a_block_of_another_role_is_none_of_that_name(name: str, folder_stage: FolderStage) -> None:
    save(folder_stage, name)
    with pytest.raises(ConfigurationError, match="there is no warehouse block named") as caught:
        load_warehouse(name)
    assert f"duckdb-warehouse/{name}" in str(caught.value)
    assert "--profile aws" in str(caught.value)
    for made in (register.SOURCE, register.STAGE, register.WAREHOUSE, register.PRICES):
        assert re.search(rf"\b{made}\b", str(caught.value.todo))
    assert "prices, with FERRY_PRICES_URL and FERRY_PRICES_SYMBOLS set" in str(caught.value)


@contextmanager
def prefect_at(url: str, seconds: float = 60) -> Iterator[None]:
    """Another server, which Prefect's client asks once and gives so many seconds."""
    with temporary_settings(
        {
            PREFECT_API_URL: f"{url}/api",
            PREFECT_API_REQUEST_TIMEOUT: seconds,
            PREFECT_CLIENT_MAX_RETRIES: 0,
        }
    ):
        yield


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, AccessError),
        (403, AccessError),
        (500, ConnectionLostError),
        (429, ConnectionLostError),
        (408, ConnectionLostError),
        (404, ConnectionLostError),  # of an ingress whose server is away
        (405, ConnectionLostError),
        (421, ConnectionLostError),
        (400, ConfigurationError),
        (422, ConfigurationError),
    ],
)
def test_a_prefect_server_that_gives_no_blocks_is_no_mistake_of_ferry_s(
    status: int, told: type[FerryError]
) -> None:
    with (
        server(refuse(status, "")) as (url, seen),
        prefect_at(url),
        pytest.raises(told, match="Prefect's server") as caught,
    ):
        load_warehouse("warehouse")
    assert f"found HTTP {status}" in str(caught.value)
    assert "PREFECT_API_URL" in str(caught.value.todo)
    if told is ConnectionLostError:
        assert "ingress" in str(caught.value.todo)
    assert seen == ["POST"]


@pytest.mark.parametrize("page", [b"<html>Log in: s3cr3t</html>", b'[{"name": "s3cr3t"}]'])
@pytest.mark.parametrize("asks_first", [False, True], ids=["", "for a token"])
def test_an_answer_that_is_not_prefect_s_is_worth_a_retry_and_not_shown(
    page: bytes, asks_first: bool
) -> None:
    """As of a login that answers in its place."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(page)

    with (
        server(answer) as (url, seen),
        prefect_at(url),
        temporary_settings({PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: asks_first}),
        pytest.raises(ConnectionLostError, match="found an answer that is not Prefect's") as caught,
    ):
        load_warehouse("warehouse")
    assert seen == ["GET" if asks_first else "POST"]
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("silent", "found"), [(False, "ConnectError"), (True, "ReadTimeout")])
def test_a_prefect_server_that_does_not_answer_is_worth_a_retry(silent: bool, found: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1] if silent else free_port()
        with (
            prefect_at(f"http://127.0.0.1:{port}", seconds=0.5),
            pytest.raises(ConnectionLostError, match=f"Prefect's server.*found {found}"),
        ):
            load_warehouse("warehouse")
