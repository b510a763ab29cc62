"""A misspelled setting fails the run at its start, and does not choose another file in silence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from ferry.errors import ConfigurationError
from flows.check_due import check_due
from flows.notify_failure import notify_failure
from flows.pipeline.summaries.specs import load_summaries
from flows.pipeline.table_specs import load_table_specs
from flows.watch_runs import watch_runs


@pytest.mark.parametrize(
    ("name", "meant"), [("FERRY_TABEL", "FERRY_TABLES"), ("FERRY_SUMARIES", "FERRY_SUMMARIES")]
)
def test_neither_tables_nor_summaries_are_read_under_a_misspelled_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    load_table_specs(), load_summaries()
    monkeypatch.setenv(name, "/somewhere/else")
    for load in (load_table_specs, load_summaries):
        with pytest.raises(ConfigurationError, match=f"no setting {name}; expected {meant}"):
            load()


@pytest.mark.parametrize("name", ["FERRY_TABLES", "FERRY_SUMMARIES"])
def test_an_empty_setting_does_not_choose_what_is_shipped(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "")
    for load in (load_table_specs, load_summaries):
        with pytest.raises(ConfigurationError, match=f"{name} is set and empty"):
            load()


@pytest.mark.parametrize(
    "run",
    [watch_runs.fn, check_due.fn, partial(notify_failure.fn, uuid4())],
    ids=["watch-runs", "check-due", "notify-failure"],
)
def test_a_misspelled_setting_does_not_mute_those_who_tell(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]
) -> None:
    monkeypatch.delenv("FERRY_NOTIFY", raising=False)
    monkeypatch.setenv("FERRY_NOTFY", "slack-webhook/ferry")
    with pytest.raises(ConfigurationError, match="no setting FERRY_NOTFY; expected FERRY_NOTIFY"):
        run()
