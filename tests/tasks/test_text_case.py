"""A warehouse to which two keys that differ in their case are one is refused."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ferry.errors import ConfigurationError, SchemaError
from flows.sync_table import sync_table

pytestmark = pytest.mark.usefixtures("plain_runs")

FIRST, SECOND = {"run_date": date(2023, 1, 1)}, {"run_date": date(2023, 1, 2)}


@pytest.fixture
def codes(journey: Any) -> Any:
    """Two rows whose keys differ in their case alone, of two days."""
    journey.sql("CREATE TABLE codes (id VARCHAR(9) PRIMARY KEY, n INT, modified DATETIME)")
    journey.sql("INSERT INTO codes VALUES ('abc', 1, '2023-01-01 10:00:00')")
    journey.write_specs(codes={"mode": "window", "key": ["id"], "retries": 0})
    return journey


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_it_is_refused_before_a_row_is_read(codes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    codes.warehouse.execute("SET GLOBAL default_collation = 'NOCASE'")
    try:
        with monkeypatch.context() as patch:
            patch.setattr(type(codes.source), "read", lambda *_: pytest.fail("a row was read"))
            with pytest.raises(ConfigurationError, match=r"plan .*ignores case.*'a' and 'A'"):
                sync_table(table="codes", **FIRST)
    finally:
        codes.warehouse.execute("RESET GLOBAL default_collation")

    asked, ask = [], type(codes.warehouse).ignores_case
    monkeypatch.setattr(
        type(codes.warehouse), "ignores_case", lambda self: asked.append(1) or ask(self)
    )
    sync_table(table="codes", **FIRST)
    codes.sql("INSERT INTO codes VALUES ('ABC', 2, '2023-01-02 10:00:00')")
    sync_table(table="codes", **SECOND)
    assert codes.target("codes", "n", "n") == [(1,), (2,)]
    assert asked == [1]


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
def test_so_is_a_target_whose_column_ignores_case(codes: Any) -> None:
    schema = codes.schema
    for statement in (
        "CREATE SCHEMA {}",
        "CREATE COLLATION {}.folded (provider = icu, locale = 'und-u-ks-level2', "
        "deterministic = false)",
        "CREATE TABLE {}.codes (id text COLLATE {}.folded, n integer, modified timestamp)",
        "INSERT INTO {}.codes VALUES ('ABC', 2, '2023-01-02 10:00:00')",
    ):
        codes.warehouse.execute(statement.replace("{}", f'"{schema}"'))
    with pytest.raises(SchemaError, match=r'id is text.* in the source.*COLLATE "folded"'):
        sync_table(table="codes", **FIRST)
    assert codes.target("codes", "n") == [(2,)]
