"""Registration makes the limits on readers, keeps what people set, and frees what nobody holds."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate, VariableCreate
from prefect.exceptions import ObjectNotFound

from deployments import leases, register
from deployments.leases import free_places, free_turns, history_warning, lease_warning
from deployments.reader_limits import register_limits
from tasks.places import limits
from tasks.places.limits import TAG, Lease, Limits, LimitState, UnreachableError
from tasks.places.readers import backfill_limit, readers_limit
from tasks.runs import paging


@pytest.fixture
def source(prefect_server: Any) -> str:
    return f"s-{uuid.uuid4().hex[:8]}"


def limit_of(name: str) -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name).limit


def active(name: str) -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name).active_slots


def test_a_limit_that_somebody_changed_stays_until_another_is_registered(source: str) -> None:
    everyone, backfills = readers_limit(source), backfill_limit(source)
    assert register_limits(source, 4) == [everyone, backfills]
    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(everyone, GlobalConcurrencyLimitUpdate(limit=2))
    assert register_limits(source, 4) == [f"{everyone}: kept at 2, not 4", backfills]
    assert (limit_of(everyone), limit_of(backfills)) == (2, 3)
    assert register_limits(source, 6) == [everyone, backfills]
    assert (limit_of(everyone), limit_of(backfills)) == (6, 5)
    register_limits(source, 1)
    assert (limit_of(everyone), limit_of(backfills)) == (1, 1)


def test_a_limit_stays_also_where_no_number_is_registered(source: str) -> None:
    everyone, backfills = readers_limit(source), backfill_limit(source)
    register_limits(source, 8)
    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(everyone, GlobalConcurrencyLimitUpdate(limit=2))
    assert register_limits(source) == [f"{everyone}: kept at 2, not 8", backfills]
    with get_client(sync_client=True) as client:
        client.delete_global_concurrency_limit_by_name(everyone)
    assert register_limits(source) == [everyone, backfills]
    assert (limit_of(everyone), limit_of(backfills)) == (8, 7)


def states_of(name: str) -> list[LimitState]:
    ours = Limits([name])
    with ours.opened():
        return ours.state()


@contextmanager
def telling(names: Sequence[str], limit: str) -> Iterator[None]:
    """Variables of these names, in which processes tell that they hold a place."""
    with get_client(sync_client=True) as client:
        value = {"holder": "flow run calm-otter", "held": {limit: 1}}
        for name in names:
            client.create_variable(VariableCreate(name=name, value=value, tags=[TAG]))
        yield
        for name in names:
            with suppress(ObjectNotFound):
                client.delete_variable_by_name(name)


def test_of_more_processes_than_the_server_tells_at_once_all_are_read(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, count = readers_limit(source), 5
    for each in (limits, paging):
        monkeypatch.setattr(each, "PAGE", 2)
    register_limits(source, 4)
    told = [f"ferry_places_{uuid.uuid4().hex[:12]}" for _ in range(count)]
    with telling(told, name):
        (state,) = states_of(name)
    assert len(state.holders) == count


def test_whoever_looks_removes_what_the_long_dead_told(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, told = readers_limit(source), f"ferry_places_{uuid.uuid4().hex[:12]}"
    register_limits(source, 4)
    with telling([told], name), get_client(sync_client=True) as client:
        states_of(name)
        assert client.read_variable_by_name(told)
        monkeypatch.setattr(limits, "FORGOTTEN_AFTER", timedelta(seconds=-5))
        states_of(name)
        assert client.read_variable_by_name(told) is None


def test_a_limit_of_an_older_ferry_that_differs_stays_too(source: str) -> None:
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(readers_limit(source), 9)
    assert register_limits(source, 4)[0] == f"{readers_limit(source)}: kept at 9, not 4"


def test_every_source_that_a_spec_names_has_limits(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = tmp_path / "tables.yaml"
    specs.write_text(
        f"defaults: {{source: {source}, stage: lake, warehouse: w, schema: raw}}\n"
        "tables: {sales: {mode: full}}\n"
    )
    for name in [name for name in os.environ if name.startswith("FERRY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FERRY_TABLES", str(specs))
    monkeypatch.setenv("FERRY_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["register", "--profile", "embedded"])
    register_limits(source, 8)
    register.main()
    printed = capsys.readouterr().out
    assert (limit_of(readers_limit(source)), limit_of(readers_limit("shop"))) == (8, 4)
    for name in (readers_limit(source), backfill_limit(source), readers_limit("shop")):
        assert f"registered {name}" in printed


def _lease(held: Limits) -> Lease | None:
    """A place; a server that is busy is asked again, as whoever keeps places does."""
    for _ in range(20):
        try:
            return held.ask(60)
        except UnreachableError as error:
            if not error.busy:
                raise
    return held.ask(60)


def test_places_that_nobody_holds_are_freed_and_those_that_are_held_stay(source: str) -> None:
    register_limits(source, 4)
    everyone, backfills = readers_limit(source), backfill_limit(source)
    with get_client(sync_client=True) as client:  # as a server that forgot the lease counts it
        client.increment_concurrency_slots([everyone, backfills], 1, "concurrency")
    held = Limits([everyone])
    with held.opened():
        lease = _lease(held)
        assert lease and lease.limits == (everyone,)
        held.report({everyone: 1})
        assert next(str(state) for state in held.state()).startswith(
            f"{everyone}: 2 of 4 places taken by process {os.getpid()} on "
        )
        assert sorted(free_places([everyone, backfills])) == [
            f"{backfills}: 1 places were held by nobody, and are free again",
            f"{everyone}: 1 places were held by nobody, and are free again",
        ]
        assert (active(everyone), active(backfills)) == (1, 0)
        assert free_places([everyone, backfills]) == []
        held.give_back(lease)
        held.report({})
    assert active(everyone) == 0


@pytest.mark.parametrize(
    ("name", "tags"),
    [("sync-all", ["ferry-watched"]), ("sync-all", []), ("nightly", ["ferry-watched"])],
    ids=["tagged", "of one's own", "of another flow"],
)
def test_a_turn_that_no_run_can_hold_is_freed(
    prefect_server: Any, name: str, tags: list[str]
) -> None:
    with get_client(sync_client=True) as client:
        flow = client.create_flow_from_name(name)
        name = f"d-{uuid.uuid4().hex[:8]}"
        deployment = client.create_deployment(flow, name, concurrency_limit=1, tags=tags)
        limit = client.read_deployment(deployment).global_concurrency_limit
        assert limit
        client.increment_concurrency_slots([limit.name], 1, "concurrency")
        assert f"deployment {name}: 1 turns were held by runs that have ended" in "".join(
            free_turns()
        )
        assert active(limit.name) == 0
        client.delete_deployment(deployment)


def test_a_server_whose_leases_last_is_not_warned_of(prefect_server: Any) -> None:
    assert lease_warning() is None
    assert (prefect_server.home / "concurrency_leases").is_dir()


@pytest.mark.usefixtures("prefect_server")
def test_a_server_that_removes_old_runs_is_not_warned_of() -> None:
    assert history_warning() is None


@pytest.mark.parametrize(
    ("tidied", "warned"),
    [(["events"], True), (False, True), (None, True), (True, False), (["flow_runs"], False)],
)
def test_a_server_that_keeps_all_runs_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, tidied: Any, warned: bool
) -> None:
    monkeypatch.setattr(leases, "_server_setting", lambda *_, **__: tidied)
    assert (history_warning() or "").startswith("Prefect's server keeps all runs") is warned
