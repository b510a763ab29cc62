"""Registration makes the limits on readers, and keeps what people set."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from deployments.guards import register_limits
from tasks.readers import backfill_limit, readers_limit


@pytest.fixture
def source(prefect_server: Any) -> str:
    return f"s-{uuid.uuid4().hex[:8]}"


def limit_of(name: str) -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name).limit


def test_a_limit_that_somebody_changed_stays_until_another_is_registered(source: str) -> None:
    everyone, backfills = readers_limit(source), backfill_limit(source)
    assert register_limits(source, 4) == [everyone, backfills]
    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(everyone, GlobalConcurrencyLimitUpdate(limit=2))
    assert register_limits(source, 4) == [f"{everyone}: kept at 2, not 4", backfills]
    assert (limit_of(everyone), limit_of(backfills)) == (2, 3)
    assert register_limits(source, 6) == [everyone, backfills]
    assert (limit_of(everyone), limit_of(backfills)) == (6, 5)


def test_a_limit_of_an_older_ferry_that_differs_stays_too(source: str) -> None:
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(readers_limit(source), 9)
    assert register_limits(source, 4)[0] == f"{readers_limit(source)}: kept at 9, not 4"
