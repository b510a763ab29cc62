"""What stands where DuckDB's file should be: told by what it is, and what to do."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from blocks.warehouses import DuckDBWarehouse
from blocks.warehouses.duckdb.errors import ferry_error
from ferry.errors import AccessError, ConfigurationError, FatalError


def text(path: Path) -> None:
    path.write_text("id,name\n" * 1000)


def database_of_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id)")
        connection.commit()


def half(path: Path) -> None:
    DuckDBWarehouse(path=path).execute("CREATE TABLE t AS SELECT range AS id FROM range(100000)")
    path.write_bytes(path.read_bytes()[:4096])


def overwritten(path: Path) -> None:
    DuckDBWarehouse(path=path).execute("CREATE TABLE t AS SELECT range AS id FROM range(100000)")
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"s3cret" * 2000 + whole[16096:])


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (text, "something else than a DuckDB database"),
        (Path.mkdir, "something else than a DuckDB database"),
        (database_of_sqlite, "something else than a DuckDB database"),
        (half, "the database file is damaged"),
        (overwritten, "the database file is damaged"),
    ],
)
def test_it_is_told_what_is_there(there: object, told: str, tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    there(path)  # type: ignore[operator]
    with pytest.raises(ConfigurationError, match=told) as caught:
        DuckDBWarehouse(path=path).fetch("SELECT count(*) FROM t")
    assert caught.value.todo
    assert "s3cret" not in str(caught.value.__cause__)


def test_a_file_named_like_a_schema_in_it_is_told(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(path=tmp_path / "raw_data.duckdb")
    warehouse.execute("CREATE SCHEMA raw_data")
    with pytest.raises(ConfigurationError, match=r"named like a schema.*Rename the file"):
        warehouse.execute('CREATE TABLE "raw_data"."nps" (id INTEGER)')


@pytest.mark.parametrize("name", ["ferry.duckdb", "FERRY.db", "ferry", ".ferry", "ferry.1.duckdb"])
def test_a_file_named_like_ferrys_own_schema_is_refused_before_anything_is_read(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Ferry's own schema.*warehouse\.duckdb"):
        DuckDBWarehouse(path=Path("data", name))
    with pytest.raises(ConfigurationError, match="Ferry's own schema"):  # as one that is stored
        DuckDBWarehouse.model_validate({"path": f"data/{name}"})


def test_a_file_with_ferry_elsewhere_in_its_path_is_none_of_them(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(path=tmp_path / "ferry" / "my ferry.ferry")
    warehouse.execute("CREATE SCHEMA ferry")
    warehouse.execute('CREATE TABLE "ferry"."receipts" (id INTEGER)')


def test_a_part_file_that_is_cut_short_is_no_damage_of_the_database() -> None:
    said = 'IO Error: Could not read enough bytes from file "part-0.parquet"'
    assert isinstance(ferry_error(duckdb.IOException(said)), ConfigurationError)
    assert isinstance(ferry_error(duckdb.IOException(said), file="part-0.parquet"), FatalError)


def test_moments_are_read_and_written_in_utc_wherever_the_machine_is(tmp_path: Path) -> None:
    program = """
import sys
from blocks.warehouses import DuckDBWarehouse
for path in sys.argv[1:]:
    warehouse = DuckDBWarehouse(path=path)
    warehouse.execute("CREATE TABLE t AS SELECT TIMESTAMP '2023-01-05 00:00:00'::TIMESTAMPTZ AS d")
    print(warehouse.fetch("SELECT d::VARCHAR FROM t")[0][0])
"""
    files = [str(tmp_path / name) for name in ("one.duckdb", "two.duckdb")]
    seoul = {**os.environ, "TZ": "Asia/Seoul"}
    told = subprocess.run(
        [sys.executable, "-c", program, *files],
        env=seoul,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.split("\n")[:2] == ["2023-01-05 00:00:00+00"] * 2


@pytest.mark.parametrize(
    ("error", "file", "told"),
    [
        (duckdb.IOException, "", "the database cannot be opened"),
        (duckdb.IOException, "part-0.csv", "the staged file part-0.csv cannot be read"),
        (duckdb.IOException, "part-1.csv", "the database cannot be opened"),
        (duckdb.TransactionException, "", "the database cannot be opened"),
    ],
)
def test_a_file_that_may_not_be_read_is_told_as_what_it_is(
    error: type[duckdb.Error], file: str, told: str
) -> None:
    before = "IO Error" if error is duckdb.IOException else "TransactionContext Error: Failed to"
    said = f'{before}: Cannot open file "/data/part-0.csv": Permission denied\n\nLINE 1: FROM …'
    with pytest.raises(AccessError, match=told):
        raise ferry_error(error(said), file=file)
