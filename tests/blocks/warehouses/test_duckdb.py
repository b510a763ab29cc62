"""What is DuckDB's alone: one file, one process, no network."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import ValidationError

from blocks.warehouses import DuckDBWarehouse
from ferry.batch import StageFormat
from ferry.errors import AccessError, BusyError, ConfigurationError, DataError, FerryError
from ferry.schema import Column, DataType, Kind, TableName
from ferry.statements import PARAM, Statement

TWO = (Column("id", DataType(Kind.INT32)), Column("name", DataType(Kind.TEXT, max_bytes=40)))


def test_a_second_process_that_has_the_file_makes_it_busy(duckdb_engine: Any) -> None:
    path = duckdb_engine.warehouse.path
    code = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); "
        "sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        impatient = DuckDBWarehouse(path=path, busy_timeout_seconds=0.2)
        for call in (impatient.fetch, impatient.execute):
            with pytest.raises(BusyError, match="another process"):
                call("SELECT 1")
        patient = DuckDBWarehouse(path=path, busy_timeout_seconds=30)
        ending = threading.Timer(0.5, other.communicate)
        ending.start()
        assert patient.fetch("SELECT 1") == [(1,)]
        ending.join()
    finally:
        if other.poll() is None:
            other.communicate()


def test_writers_of_this_process_take_turns(duckdb_engine: Any) -> None:
    duckdb_engine.create((TWO[0],))
    insert = "UPDATE own.t SET id = id + 1"
    duckdb_engine.warehouse.execute("INSERT INTO own.t VALUES (0)")

    def work() -> None:
        for _ in range(5):
            with duckdb_engine.warehouse.transaction() as tx:
                tx.execute(insert)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert duckdb_engine.warehouse.fetch("SELECT id FROM own.t") == [(20,)]


@pytest.mark.seconds
def test_a_reader_that_asks_in_a_loop_never_keeps_others_out(duckdb_engine: Any) -> None:
    """Without turns at opening and closing, a few seconds of this end in a BusyError."""
    duckdb_engine.create((TWO[0],))
    warehouse = DuckDBWarehouse(path=duckdb_engine.warehouse.path, busy_timeout_seconds=1)
    stop = time.monotonic() + 3.5
    errors: list[BusyError] = []

    def read() -> None:
        while time.monotonic() < stop and not errors:
            try:
                warehouse.fetch("SELECT COUNT(*) FROM own.t")
            except BusyError as error:
                errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        while time.monotonic() < stop and not errors:
            with warehouse.transaction() as tx:
                tx.execute("INSERT INTO own.t VALUES (1)")
                warehouse.fetch("SELECT COUNT(*) FROM own.t")
    finally:
        reader.join()
    assert errors == []


def test_a_writer_that_waits_too_long_is_told_so(duckdb_engine: Any) -> None:
    impatient = DuckDBWarehouse(path=duckdb_engine.warehouse.path, busy_timeout_seconds=0.1)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            impatient.execute("CREATE TABLE x (i INTEGER)")
        except BusyError as error:
            raised.append(error)

    with duckdb_engine.warehouse.transaction():
        (thread := threading.Thread(target=work)).start()
        thread.join(20)
        assert impatient.fetch("SELECT 1") == [(1,)]  # readers do not wait
    assert "did not end in time" in str(raised[0])


@pytest.mark.parametrize("format", StageFormat)
def test_files_of_a_stage_elsewhere_pass_through_this_machine(
    duckdb_engine: Any, s3_stage: Any, format: StageFormat
) -> None:
    duckdb_engine.stage = s3_stage
    table = duckdb_engine.create(TWO)
    staged = duckdb_engine.stage_rows(TWO, [(1, "a")], [(2, None)], format=format)
    assert duckdb_engine.warehouse.copy_in(table, staged, s3_stage) == 2
    assert duckdb_engine.warehouse.fetch("SELECT * FROM own.t ORDER BY id") == [(1, "a"), (2, None)]


def test_a_stage_whose_path_has_odd_characters_is_read_in_place(
    duckdb_engine: Any, tmp_path: Path
) -> None:
    from blocks.stages import FolderStage

    (odd := tmp_path / "50% of #1?*[a] 'x'").mkdir()
    duckdb_engine.stage = FolderStage(path=odd)
    table = duckdb_engine.create(TWO)
    for format in StageFormat:
        staged = duckdb_engine.stage_rows(TWO, [(1, "a")], format=format)
        assert duckdb_engine.warehouse.copy_in(table, staged, duckdb_engine.stage) == 1


@pytest.mark.parametrize("format", StageFormat)
@pytest.mark.parametrize("odd", ["a[b]", "a?", "a*", "**", "a\\[b]"])
def test_a_folder_whose_name_is_a_pattern_brings_no_other_folders_rows(
    duckdb_engine: Any, tmp_path: Path, odd: str, format: StageFormat
) -> None:
    from blocks.stages import FolderStage

    folders = [tmp_path / "in" / odd, tmp_path / "in" / "ab"]
    staged = []
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        duckdb_engine.stage = FolderStage(path=folder)
        staged.append(duckdb_engine.stage_rows(TWO, [(number, "a")], format=format))
    own = folders[0] / staged[0].files[0].key
    twin = folders[1] / staged[0].files[0].key
    twin.parent.mkdir()
    (folders[1] / staged[1].files[0].key).rename(twin)
    assert own.is_file()
    table = duckdb_engine.create(TWO)
    stage = FolderStage(path=folders[0])
    assert duckdb_engine.warehouse.copy_in(table, staged[0], stage) == 1
    assert duckdb_engine.warehouse.fetch("SELECT id FROM own.t") == [(0,)]


@pytest.mark.parametrize("format", StageFormat)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["in place", "by a copy"])
def test_a_folder_that_looks_like_a_partition_changes_no_value(
    duckdb_engine: Any, s3_stage: Any, tmp_path: Path, monkeypatch: Any, format: StageFormat,
    elsewhere: bool,
) -> None:  # fmt: skip
    from blocks.stages import FolderStage

    odd = tmp_path / "env=prod" / "id=7" / "modified=2020-01-01" / "n=abc" / "filename=x"
    odd.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    duckdb_engine.stage = s3_stage if elsewhere else FolderStage(path=odd)
    columns = (
        Column("id", DataType(Kind.INT32)),
        Column("env", DataType(Kind.TEXT, max_bytes=40)),
        Column("modified", DataType(Kind.TIMESTAMP)),
        Column("n", DataType(Kind.INT32)),
        Column("filename", DataType(Kind.TEXT, max_bytes=40)),
    )
    rows = [
        (1, "test", datetime(2023, 1, 5, 10), 5, "a"),
        (2, "dev", datetime(2023, 1, 5, 11), None, "b"),
    ]
    table = duckdb_engine.create(columns)
    staged = duckdb_engine.stage_rows(columns, rows, format=format)
    assert duckdb_engine.warehouse.copy_in(table, staged, duckdb_engine.stage) == 2
    assert duckdb_engine.warehouse.fetch("SELECT * FROM own.t ORDER BY id") == rows


def test_a_row_of_many_megabytes_is_loaded(duckdb_engine: Any) -> None:
    table = duckdb_engine.create(TWO)
    staged = duckdb_engine.stage_rows(TWO, [(1, "x" * (20 << 20)), (2, "y")])
    assert duckdb_engine.warehouse.copy_in(table, staged, duckdb_engine.stage) == 2


def test_text_that_is_no_json_is_a_data_error_without_it(duckdb_engine: Any) -> None:
    columns = (TWO[0], Column("j", DataType(Kind.JSON)))
    table = duckdb_engine.create(columns)
    for format in StageFormat:
        staged = duckdb_engine.stage_rows(columns, [(1, "{s3cret")], format=format)
        with pytest.raises(DataError, match="part-0") as caught:
            duckdb_engine.warehouse.copy_in(table, staged, duckdb_engine.stage)
        assert "s3cret" not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.JSON, "permission denied to x"),
        (Kind.JSON, '"/w.duckdb": permission denied'),
        (Kind.JSON, "ambiguous reference to catalog or schema"),
        (Kind.INT32, "Permission denied"),
    ],
)
def test_the_words_of_a_value_make_no_other_error_of_it(
    duckdb_engine: Any, kind: Kind, value: str
) -> None:
    table = duckdb_engine.create((TWO[0], Column("v", DataType(kind))))
    staged = duckdb_engine.stage_rows((TWO[0], Column("v", DataType(Kind.TEXT))), [(1, value)])
    with pytest.raises(DataError, match="cannot hold a value; found file part-0") as caught:
        duckdb_engine.warehouse.copy_in(table, staged, duckdb_engine.stage)
    assert value not in str(caught.value)


def test_nothing_is_downloaded(duckdb_engine: Any) -> None:
    settings = dict(duckdb_engine.warehouse.fetch("SELECT name, value FROM duckdb_settings()"))
    assert settings["autoinstall_known_extensions"] in {"false", "0"}
    assert settings["autoload_known_extensions"] in {"false", "0"}
    built_in = duckdb_engine.warehouse.fetch(
        "SELECT extension_name FROM duckdb_extensions() WHERE loaded"
    )
    assert {("json",), ("parquet",), ("icu",)} <= set(built_in)


@pytest.mark.parametrize("path", [":memory:", ""])
def test_a_database_that_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        DuckDBWarehouse(path=path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AccessError):
        DuckDBWarehouse(path=tmp_path / "file" / "w.duckdb").fetch("SELECT 1")


def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "blocked.duckdb").write_text("not a database, but somebody's work" * 500)
    before = (tmp_path / "blocked.duckdb").stat().st_size
    with pytest.raises(ConfigurationError, match="else than a DuckDB database"):
        DuckDBWarehouse(path=tmp_path / "blocked.duckdb", busy_timeout_seconds=0).fetch("SELECT 1")
    assert (tmp_path / "blocked.duckdb").stat().st_size == before


def test_columns_whose_type_duckdb_does_not_alter_are_told(duckdb_warehouse: Any) -> None:
    table = TableName("main", "t")
    duckdb_warehouse.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, c INT CHECK (c > 0), n INT NOT NULL)"
    )
    assert set(duckdb_warehouse.held_columns(table).columns) == {"id", "u", "c"}
    duckdb_warehouse.execute("CREATE INDEX i ON t (n)")
    assert set(duckdb_warehouse.held_columns(table).columns) == {"id", "u", "c", "n"}
    assert duckdb_warehouse.bound_views(table, "n") == ()


def modes(folder: Path) -> dict[str, int]:
    """The rights of all that stands in the folder."""
    return {str(p.relative_to(folder)): stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*")}


@pytest.fixture
def usual_mask() -> Any:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.seconds
def test_the_file_its_folders_and_what_stands_beside_it_are_made_private(
    tmp_path: Path, usual_mask: None
) -> None:
    warehouse = DuckDBWarehouse(path=tmp_path / "new" / "newer" / "w.duckdb")
    warehouse.fetch("SELECT 1")
    private = {"new": 0o700, "new/newer": 0o700, "new/newer/w.duckdb": 0o600}
    assert modes(tmp_path) == private
    warehouse.execute("CREATE TABLE t (id INTEGER)")
    with warehouse._connection() as kept:  # a log is only there while somebody is
        warehouse.execute("INSERT INTO t VALUES (1)")
        assert modes(tmp_path) == {**private, "new/newer/w.duckdb.wal": 0o600}
        kept.execute("SET memory_limit = '20MB'")
        kept.execute("SET preserve_insertion_order = false")
        kept.execute("CREATE TEMP TABLE big AS SELECT range AS n FROM range(3_000_000)")
        kept.execute("CREATE TEMP TABLE more AS SELECT n::VARCHAR || '-' AS n FROM big")
        spilled = {n: m for n, m in modes(tmp_path).items() if ".tmp" in n}
        assert set(spilled.values()) == {0o700, 0o600}
    (tmp_path / "ours").touch()
    assert modes(tmp_path)["ours"] == 0o644  # the process's mask is as it was


def test_a_file_that_is_there_keeps_the_rights_its_owner_gave_it(
    tmp_path: Path, usual_mask: None
) -> None:
    warehouse = DuckDBWarehouse(path=tmp_path / "w.duckdb")
    warehouse.execute("CREATE TABLE t (id INTEGER)")
    warehouse.path.chmod(0o640)
    with warehouse._connection():
        warehouse.execute("INSERT INTO t VALUES (1)")
        assert modes(tmp_path) == {"w.duckdb": 0o640, "w.duckdb.wal": 0o644}
    assert modes(tmp_path) == {"w.duckdb": 0o640}


NAMES = ("w", "memory", "main", "temp", "information_schema", "pg_catalog", "my.shop", "x'y \"z")


def test_files_of_the_same_name_and_of_names_that_duckdb_uses_are_open_at_once(
    tmp_path: Path,
) -> None:
    paths = [tmp_path / folder / f"{name}.duckdb" for folder in "ab" for name in NAMES]
    warehouses = [DuckDBWarehouse(path=path, busy_timeout_seconds=1) for path in paths]
    schemas = ["own" if path.stem == "memory" else "memory" for path in paths]
    with ExitStack() as stack:
        for number, (each, schema) in enumerate(zip(warehouses, schemas, strict=True)):
            stack.enter_context(each._connection())
            each.execute(f"CREATE SCHEMA {schema}")
            each.execute(Statement(f"CREATE TABLE {schema}.t AS SELECT {PARAM} AS n", (number,)))
    for number, (each, schema) in enumerate(zip(warehouses, schemas, strict=True)):
        assert each.fetch(f"FROM {schema}.t") == [(number,)]
        named = each.fetch("SELECT current_database()")
        with duckdb.connect(str(each.path), read_only=True) as itself:
            assert itself.execute("SELECT current_database()").fetchall() == named
            assert itself.execute(f"FROM {schema}.t").fetchall() == [(number,)]


def test_whoever_breaks_off_leaves_the_file_to_others(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(path=tmp_path / "w.duckdb")
    with pytest.raises(KeyboardInterrupt), warehouse._connection():
        raise KeyboardInterrupt
    with duckdb.connect(str(warehouse.path)) as another:
        another.execute("CREATE TABLE t AS SELECT 1 AS n")
    (tmp_path / "no.duckdb").write_text("no database")
    for _ in range(2):
        with pytest.raises(FerryError):
            DuckDBWarehouse(path=tmp_path / "no.duckdb").fetch("SELECT 1")
    assert warehouse.fetch("FROM t") == [(1,)]


def test_a_folder_for_what_did_not_fit_may_be_cleared_away_meanwhile(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(path=tmp_path / "w.duckdb")
    with warehouse._connection() as kept:
        kept.execute("SET memory_limit = '20MB'")
        kept.execute("CREATE TEMP TABLE big AS SELECT range AS n FROM range(3_000_000)")
        kept.execute("DROP TABLE big")
        shutil.rmtree(tmp_path / "w.duckdb.tmp")
    assert DuckDBWarehouse(path=tmp_path / "other.duckdb").fetch("SELECT 1") == [(1,)]


def test_what_did_not_fit_in_memory_leaves_nothing_behind(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(path=tmp_path / "w.duckdb")
    for _ in range(2):
        with warehouse._connection() as kept:
            kept.execute("SET memory_limit = '20MB'")
            kept.execute("CREATE TEMP TABLE big AS SELECT range AS n FROM range(3_000_000)")
            assert any(".tmp" in name for name in modes(tmp_path))
        assert list(modes(tmp_path)) == ["w.duckdb"]
    assert warehouse.fetch("SELECT current_setting('memory_limit') = '19.0 MiB'") == [(False,)]


def test_between_two_calls_another_process_can_have_the_file(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(path=tmp_path / "w.duckdb")
    warehouse.execute("CREATE TABLE t AS SELECT 1 AS n")
    code = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('UPDATE t SET n = n + 1')"
    for n in (2, 3):
        subprocess.run([sys.executable, "-c", code, str(warehouse.path)], check=True)
        assert warehouse.fetch("FROM t") == [(n,)]


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("NULL, 1, '{}'", r"Correct the value in the source\.$"),
        ("1, 70000, '{}'", r"Correct the value in the source, or the column's type\.$"),
        ("1, 1, '{'", r"Correct the value in the source\.$"),
    ],
    ids=["NULL", "out of range", "no JSON"],
)
def test_the_advice_fits_what_is_wrong_with_a_value(
    tmp_path: Path, value: str, advice: str
) -> None:
    warehouse = DuckDBWarehouse(path=tmp_path / "w.duckdb")
    warehouse.execute("CREATE TABLE t (id INTEGER NOT NULL, small SMALLINT, document JSON)")
    with pytest.raises(DataError, match=advice):
        warehouse.execute(f"INSERT INTO t SELECT {value}")
