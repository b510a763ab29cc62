"""Ferry's flows and tasks called as functions, in a flow run that Prefect's server never hears of.

What Prefect does for a run and its tasks (states, events, pages) costs four times what it costs to
carry a few rows. A test of what becomes of rows asks for the fixture `plain_runs` and goes without;
parameters are checked, retries made, and errors leave, as in Prefect's runs. Pages are made and
kept here (`pages_of`), the blocks of its journey are on no server, and no place among readers is
asked for. How a run looks and ends in Prefect is told by the tests marked `BY_PREFECT`, and by
those that ask for `api`: of states, places and messages, and on one route of pages.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from prefect import Flow, Task
from prefect._internal.pydantic.validated_func import ValidatedFunction
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import Artifact, FlowRun, State
from prefect.context import (
    FlowRunContext,
    SettingsContext,
    SyncClientContext,
    get_settings_context,
)
from prefect.exceptions import ParameterTypeError
from prefect.flow_engine import run_flow
from prefect.results import get_result_store
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    PREFECT_LOGGING_TO_API_ENABLED,
    Settings,
)
from prefect.states import Completed, Failed, Pending, Scheduled, exception_to_failed_state
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect.utilities.callables import get_call_parameters
from pydantic import ConfigDict

from tasks.places.place_pool import PlacePool

PLAIN = {
    "sync-table",
    "sync-all",
    "backfill",
    "carry-windows",
    "coverage",
    "check-due",
    "build-summary",
    "reconcile",
    "update-symbols",
}
"""With the tests' own flows; what is about Prefect's side of a run is not among them."""

_starting_at: ContextVar[datetime | None] = ContextVar("_starting_at", default=None)
_pages: dict[uuid.UUID | None, list[tuple[str | None, str]]] = {}
"""What the runs of a test have shown: of each run, its pages with their keys."""

BY_PREFECT = pytest.mark.usefixtures("api")
"""The run is one of Prefect's engine, in a module whose others are functions."""


def run_at(flow: Flow[..., Any], start: datetime, **parameters: Any) -> State[Any]:
    """The state of a run of the flow that was scheduled for this moment.

    The run is one of Prefect's engine where others are.
    """
    ended: Any
    if Flow.__call__.__module__ != __name__ or not _may_be_plain(flow):
        with get_client(sync_client=True) as client:
            due: State[Any] = Scheduled(scheduled_time=start)
            run = client.create_flow_run(flow, parameters=parameters, state=due)
        ended = run_flow(flow, flow_run=run, parameters=parameters, return_type="state")
    else:
        token = _starting_at.set(start)
        try:
            ended = flow(**parameters, return_state=True)
        finally:
            _starting_at.reset(token)
    state: State[Any] = ended
    return state


def deployed(flow: Flow[..., Any], name: str) -> dict[str, Any]:
    """The parameters of a deployment of the flow, as `prefect.yaml` has them."""
    function = flow.fn
    entrypoint = f"{function.__module__}.{function.__name__}"
    deployments = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())
    (found,) = [
        each
        for each in deployments["deployments"]
        if (each["entrypoint"], each["name"]) == (entrypoint, name)
    ]
    parameters: dict[str, Any] = found.get("parameters", {})
    return parameters


def pages_of(state: State[Any]) -> dict[str, str]:
    """The pages that a run has shown, by their keys, of which none is there twice.

    Raises:
        KeyError: The run was one of Prefect's engine, whose server has them.
    """
    shown = _pages[state.state_details.flow_run_id]
    pages = {key: text for key, text in shown if key is not None}
    assert len(pages) == len(shown), [key for key, _ in shown]
    return pages


@contextmanager
def plain_runs() -> Iterator[None]:
    """Let every call of these flows, and of tasks within them, be one of a function."""
    as_flow, as_task = Flow.__call__, Task.__call__
    _pages.clear()

    def call(flow: Any, *args: Any, **kwargs: Any) -> Any:
        inside_prefect_s = FlowRunContext.get() and not _is_plain()
        if inside_prefect_s or not _may_be_plain(flow):
            return as_flow(flow, *args, **kwargs)
        wants_state = kwargs.pop("return_state", False)
        given = get_call_parameters(flow.fn, args, kwargs)
        try:
            parameters = flow.validate_parameters(given)
        except ParameterTypeError as error:
            if not wants_state:
                raise
            return run_coro_as_sync(exception_to_failed_state(error))
        with _running(flow, parameters) as run:
            try:
                returned = _with_retries(flow, run, parameters)
            except Exception as error:
                if not wants_state:
                    raise
                returned = run_coro_as_sync(exception_to_failed_state(error))
        if not wants_state:
            return _result(returned)
        state = returned if isinstance(returned, State) else Completed(data=returned)
        state.state_details.flow_run_id = run.id
        return state

    def step(task: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_plain():
            return as_task(task, *args, **kwargs)
        for _ in range(task.retries):
            try:
                return task.fn(*args, **kwargs)
            except Exception as error:  # as Prefect's engine does
                may_help = task.retry_condition_fn
                if may_help and not may_help(task, None, Failed(data=error)):
                    raise
                time.sleep(task.retry_delay_seconds)
        return task.fn(*args, **kwargs)

    with (
        patch.object(Flow, "__call__", call),
        patch.object(Task, "__call__", step),
        patch("prefect.events.utilities.should_emit_events", lambda: False),  # of an unknown run
        # As where a source has no limit on its readers: each journey's is new to the server.
        patch.object(PlacePool, "_take", lambda _: None),
        patch.object(PlacePool, "_take_free", lambda _, count: [None] * count),
        patch("prefect.results._read_server_default_result_storage_block_id", lambda: None),
        patch("prefect.flows.ValidatedFunction", _validated),
        patch.object(SyncPrefectClient, "create_artifact", _kept),
        patch.object(SyncPrefectClient, "update_artifact", lambda *_, **__: None),
    ):
        yield


@cache
def _validated_of(function: Callable[..., Any]) -> ValidatedFunction:
    return ValidatedFunction(function, config=ConfigDict(arbitrary_types_allowed=True))


def _validated(function: Callable[..., Any], config: ConfigDict) -> ValidatedFunction:
    """What checks a flow's parameters; Prefect makes it anew for each call, in 2 ms."""
    assert config == {"arbitrary_types_allowed": True}
    return _validated_of(function)


def _may_be_plain(flow: Flow[..., Any]) -> bool:
    return flow.name in PLAIN or flow.fn.__module__.startswith("tests.")


def _is_plain() -> bool:
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.name == __name__)


@contextmanager
def _running(flow: Any, parameters: dict[str, Any]) -> Iterator[FlowRun]:
    run = FlowRun(
        id=uuid.uuid4(),
        flow_id=uuid.uuid4(),
        name=__name__,
        state=Pending(),
        expected_start_time=_starting_at.get() or datetime.now(UTC),  # type: ignore[arg-type]  # pydantic takes it
        run_count=1,
        parameters=parameters,
    )
    _starting_at.set(None)  # a flow that this one calls starts when it is called
    _pages[run.id] = []
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner()
    with (
        _without_logs_to_the_server(),
        SyncClientContext.get_or_create() as context,
        runner,
        FlowRunContext(
            flow=flow,
            flow_run=run,
            parameters=parameters,
            client=context.client,
            task_runner=runner,
            result_store=get_result_store(),
        ),
    ):
        yield run


@contextmanager
def without_server() -> Iterator[None]:
    """Let Prefect's server be where nobody answers: who asks it fails, at once."""
    nowhere = {
        PREFECT_API_URL: "http://127.0.0.1:1/api",
        PREFECT_CLIENT_MAX_RETRIES: 0,
        PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
    }
    with _with_settings("nowhere", nowhere):
        yield


@contextmanager
def one_client() -> Iterator[None]:
    """All runs of a test share it: one of a run's own reads a hundred certificates first."""
    with SyncClientContext.get_or_create():
        yield


def _without_logs_to_the_server() -> SettingsContext:
    return _with_settings("no logs", {PREFECT_LOGGING_TO_API_ENABLED: False})


_settings: dict[str, tuple[Settings, Settings]] = {}
"""By what is changed in them: the settings met last, and the changed ones."""


def _with_settings(what: str, changed: dict[Any, Any]) -> SettingsContext:
    """As `temporary_settings`, which takes 40 ms of CPU to make the same ones anew."""
    context = get_settings_context()
    met, made = _settings.get(what, (None, None))
    if made is None or met is not context.settings:
        made = context.settings.copy_with_update(changed)
        _settings[what] = context.settings, made
    return SettingsContext(profile=context.profile, settings=made)


def _kept(client: SyncPrefectClient, artifact: Any) -> Artifact:
    made = Artifact(id=uuid.uuid4(), **artifact.model_dump(exclude_unset=True))
    if made.type != "progress":  # which has no key
        _pages.setdefault(made.flow_run_id, []).append((made.key, str(made.data)))
    return made


def _with_retries(flow: Any, run: FlowRun, parameters: dict[str, Any]) -> Any:
    while run.run_count <= (flow.retries or 0):
        with suppress(Exception):
            returned = flow.fn(**parameters)
            if not (isinstance(returned, State) and returned.is_failed()):
                return returned
        run.run_count += 1
    return flow.fn(**parameters)


def _result(returned: Any) -> Any:
    """What Prefect gives to whoever called the flow."""
    if isinstance(returned, State):
        return returned.data if returned.is_completed() else returned.result()
    return returned
