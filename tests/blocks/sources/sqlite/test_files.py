"""What is told of a file that is locked, not there, half changed, damaged or none of SQLite's."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from blocks.sources import SQLiteSource
from blocks.sources.sqlite.errors import ferry_error
from ferry.batch import ExtractQuery
from ferry.errors import AccessError, BusyError, ConfigurationError
from tests.blocks.sources.sqlite.shop import ONE, SQLiteShop


def test_a_locked_file_is_retriable(shop: SQLiteShop) -> None:
    shop.fill("INTEGER", 1)
    shop.connection.execute("BEGIN EXCLUSIVE")

    with pytest.raises(BusyError, match=r"locked.*end that program's transaction.*retry the run"):
        shop.source.describe(ONE)
    shop.connection.execute("ROLLBACK")


def test_a_read_keeps_an_application_from_its_commit_unless_the_file_is_in_wal_mode_or_a_copy(
    shop: SQLiteShop, tmp_path: Path
) -> None:
    shop.fill("TEXT", *["x" * 100] * 1000)
    copy = tmp_path / "copy.sqlite"
    shop.connection.execute("VACUUM INTO ?", (str(copy),))
    shop.connection.execute("PRAGMA busy_timeout = 0")

    def commits_while_it_is_read(source: SQLiteSource) -> bool:
        few = source.model_copy(update={"batch_rows": 10})
        batches = few.read(ExtractQuery(few.describe(ONE)))
        next(batches)
        try:
            shop.connection.execute("INSERT INTO one (c) VALUES ('new')")
        except sqlite3.OperationalError as error:
            assert error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            return False
        finally:
            assert 10 + sum(batch.num_rows for batch in batches) == 1000
        shop.connection.execute("DELETE FROM one WHERE c = 'new'")
        return True

    assert not commits_while_it_is_read(shop.source)
    assert commits_while_it_is_read(SQLiteSource(path=str(copy)))
    shop.connection.execute("PRAGMA journal_mode = WAL")
    assert commits_while_it_is_read(shop.source)


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "none.sqlite"

    with pytest.raises(ConfigurationError, match=r"none\.sqlite"):
        SQLiteSource(path=str(path)).describe(ONE)
    assert not path.exists()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("not a database, but long enough to be looked at " * 10)

    with pytest.raises(ConfigurationError, match=r"not a SQLite database\. Correct"):
        SQLiteSource(path=str(path)).describe(ONE)


def test_a_file_that_was_left_or_copied_in_the_middle_of_a_change_is_told(
    shop: SQLiteShop, tmp_path: Path
) -> None:
    shop.fill("TEXT", *["x" * 100] * 1000)
    shop.connection.execute("PRAGMA cache_size = 5")
    shop.connection.execute("BEGIN")
    shop.connection.execute("UPDATE one SET c = c || 'y'")
    copied = tmp_path / "copied.sqlite"
    for end in ("", "-journal"):
        shutil.copy(f"{shop.source.path}{end}", f"{copied}{end}")
    copy = SQLiteSource(path=str(copied))

    with pytest.raises(AccessError, match=r"middle of a change.*sqlite3 FILE .tables"):
        copy.describe(ONE)
    with contextlib.closing(sqlite3.connect(copied)) as connection:
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    (batch,) = copy.read(ExtractQuery(copy.describe(ONE)))
    assert set(batch["c"].to_pylist()) == {"x" * 100}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("SQLITE_READONLY", "write to its folder"),
        ("SQLITE_READONLY_DIRECTORY", "write to its folder"),
        ("SQLITE_READONLY_CANTINIT", "write to its folder"),
        ("SQLITE_READONLY_CANTLOCK", "write to its folder"),
        ("SQLITE_READONLY_RECOVERY", "middle of a change"),
    ],
)
def test_a_file_that_only_a_writer_can_read_is_told(code: str, told: str) -> None:
    """By root, to whom no folder is closed, SQLite cannot be made to say so."""
    error = sqlite3.OperationalError("attempt to write a readonly database")
    error.sqlite_errorcode = getattr(sqlite3, code)

    found = ferry_error(error, "shop.sqlite")
    assert isinstance(found, AccessError)
    assert told in str(found)
    assert found.todo


def test_a_file_that_is_cut_short_is_damaged(shop: SQLiteShop) -> None:
    shop.fill("TEXT", *["x" * 100] * 1000)
    path = Path(shop.source.path)
    os.truncate(path, path.stat().st_size // 8192 * 4096)

    with pytest.raises(ConfigurationError, match=r"is damaged\. Put a copy of it back"):
        shop.read()


def test_a_path_that_cannot_be_looked_up_is_told() -> None:
    with pytest.raises(AccessError, match=r"cannot be looked up; found .*too long"):
        SQLiteSource(path="x" * 300).describe(ONE)
