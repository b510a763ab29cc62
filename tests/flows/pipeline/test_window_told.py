"""What a message says as Window is the window that the flow itself chooses to carry."""

from __future__ import annotations

from datetime import timedelta
from sys import modules
from typing import Any

import pytest
from prefect import Flow

from ferry.errors import RequestError
from ferry.lookback import own_window
from ferry.plan import choose_window
from ferry.runs.window import window_text
from ferry.specs.tables import TableSpec
from ferry.windows import Window
from flows.pipeline import make_batch
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from flows.update_symbols import update_symbols
from tests.ferry.runs.test_window import HOUR, START, TOLD, specs
from tests.harness.plain_runs import run_at

pytestmark = pytest.mark.usefixtures("plain_runs")

FLOWS: dict[str, Flow[..., Any]] = {
    flow.name: flow for flow in (sync_table, sync_all, update_symbols)
}
"""Those that choose a window by schedule and specs; others are given theirs."""

CHOSEN = [(flow, given) for flow, given, _ in TOLD if flow in FLOWS]


def chosen(flow: str, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The windows that a run of the flow chooses, as people say them; it carries none of them.

    That is all by which it fails, each of its tables by it.
    """
    found, tables = set[str](), list[str]()

    def choose(spec: TableSpec, **asked: Any) -> Any:
        tables.append(spec.name)
        mode, window = choose_window(spec, **asked)
        if flow == "update-symbols":
            assert window
            found.add(in_days(window))
        elif window:
            found.add(str(own_window(spec, window, asked["scheduled_start"])))
        elif flow == "sync-table":
            found.add(mode)
        raise RequestError("nothing is carried")

    monkeypatch.setattr(make_batch, "choose_window", choose)
    monkeypatch.setattr(modules[FLOWS[flow].fn.__module__], "load_table_specs", specs)
    state = run_at(FLOWS[flow], START, **given)
    assert state.is_failed()
    assert (state.message or "").count("nothing is carried") == len(tables) > 0
    return found


def in_days(window: Window) -> str:
    first, last = window.start.date(), window.end.date() - timedelta(days=1)
    return str(first) if first == last else f"{first} to {last}"


@pytest.mark.parametrize(("flow", "given"), CHOSEN)
def test_the_window_that_is_told_is_the_one_that_the_flow_carries(
    flow: str, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told, carried = window_text(flow, given, START, specs), chosen(flow, given, monkeypatch)
    if len(carried) == 1:
        assert {told} == carried
    else:
        assert len(carried) > 1 or (given["tables"], carried) == (["orders"], set())
        assert told == (" to ".join(HOUR.values()) if "window_start" in given else None)
