"""Blocks are found by their names, all that a table needs in one request to Prefect's server."""

from __future__ import annotations

import re
import uuid
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectException, PrefectHTTPStatusError

from blocks.registry import load_blocks, load_warehouse
from blocks.stages import FolderStage
from deployments import register
from ferry.errors import AccessError, ConfigurationError, ConnectionLostError, FerryError
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


def answered(status: int) -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://prefect/api/block_documents/filter")
    return PrefectHTTPStatusError("no", request=request, response=httpx.Response(status))


def not_reached() -> RuntimeError:
    """What Prefect's client says when it does not even get the server's version."""
    error = RuntimeError("Failed to reach API at http://prefect/api")
    error.__cause__ = httpx.ConnectError("refused")
    return error


@pytest.mark.parametrize(
    ("met", "told", "found"),
    [
        (answered(401), AccessError, "HTTP 401"),
        (answered(403), AccessError, "HTTP 403"),
        (answered(500), ConnectionLostError, "HTTP 500"),
        (answered(429), ConnectionLostError, "HTTP 429"),
        (answered(408), ConnectionLostError, "HTTP 408"),
        (answered(404), ConfigurationError, "HTTP 404"),  # as where PREFECT_API_URL is wrong
        (answered(422), ConfigurationError, "HTTP 422"),
        (httpx.ReadTimeout("late"), ConnectionLostError, "ReadTimeout"),
        (PrefectException("of its own"), ConnectionLostError, "PrefectException"),
        (not_reached(), ConnectionLostError, "ConnectError"),
    ],
    ids=lambda each: str(each) if isinstance(each, str) else "",
)
def test_a_prefect_server_that_gives_no_blocks_is_no_mistake_of_ferry_s(
    met: Exception, told: type[FerryError], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise met

    monkeypatch.setattr(SyncPrefectClient, "request", refuse)
    with pytest.raises(told, match="Prefect's server") as caught:
        load_warehouse("warehouse")
    assert f"found {found}" in str(caught.value)


def test_a_mistake_is_not_taken_for_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("incompatible versions")

    monkeypatch.setattr(SyncPrefectClient, "request", mistaken)
    with pytest.raises(RuntimeError, match="incompatible versions"):
        load_warehouse("warehouse")
