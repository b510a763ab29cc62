"""A misspelled setting fails the run at its start, and does not choose another file in silence."""

from __future__ import annotations

import pytest

from ferry.errors import ConfigurationError
from flows.summary_specs import load_summaries
from flows.table_specs import load_table_specs


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
