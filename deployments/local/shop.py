"""A shop's database to carry from: the same rows in SQLite and in MariaDB, always the same ones.

``nps`` is narrow and long, ``orders`` has most types and the traps of text in the wild. Only what
the product itself needs is imported here, so the demo can use it.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pymysql

from deployments.local import shop_rows
from deployments.local.shop_rows import Span

JANUARY = Span(date(2023, 1, 1), 31)
"""January 2023, the month in which the shop's rows were made."""

TABLES = ("nps", "orders")
"""The shop's tables."""

# SQLite numbers rows by itself only in a column declared INTEGER PRIMARY KEY.
_COLUMNS = {
    "nps": """\
  id INTEGER NOT NULL PRIMARY KEY {auto_increment},
  created_at DATETIME NOT NULL,
  score TINYINT NULL""",
    "orders": """\
  id BIGINT NOT NULL PRIMARY KEY,
  customer_id INT NOT NULL,
  status VARCHAR(12) NOT NULL,
  amount DECIMAL(12,2) NOT NULL,
  currency CHAR(3) NOT NULL,
  comment VARCHAR(500) NULL,
  is_gift TINYINT(1) NOT NULL,
  shipped_on DATE NULL,
  created_at DATETIME(6) NOT NULL,
  modified DATETIME(6) NOT NULL,
  deleted DATETIME(6) NULL""",
}
_INDEXES = (
    "CREATE INDEX nps_created_at ON nps (created_at)",
    "CREATE INDEX orders_created_at ON orders (created_at)",
    "CREATE INDEX orders_modified ON orders (modified)",
)
_NULL = "\\N\\N"  # no comment reads so


@dataclass(frozen=True)
class DayCounts:
    """What a day in the shop did, in rows.

    Attributes:
        nps_added: New rows in ``nps``.
        orders_added: New rows in ``orders``.
        orders_changed: Older orders that were changed and are still there.
        orders_deleted: Older orders that were deleted, softly: they say when.
    """

    nps_added: int
    orders_added: int
    orders_changed: int
    orders_deleted: int


def make_sqlite(
    path: Path, *, nps_rows: int = 150_000, orders_rows: int = 10_000, span: Span = JANUARY
) -> Path:
    """Makes the shop as a SQLite file, in place of one that is there; about 1 s.

    The columns are declared as in MariaDB. Times are ISO text, ``YYYY-MM-DD HH:MM:SS[.ffffff]``.
    Amounts are given as text, which SQLite's NUMERIC affinity turns into REAL (or INTEGER): with
    two decimals that is exact enough to round back.

    Args:
        path: The file; its folder is made if missing.
        nps_rows: Rows of ``nps``.
        orders_rows: Rows of ``orders``.
        span: The days over which the rows are spread.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    connection = sqlite3.connect(unfinished)
    try:
        for table, columns in _COLUMNS.items():
            definition = columns.format(auto_increment="AUTOINCREMENT")
            connection.execute(f"CREATE TABLE {table} (\n{definition}\n)")
        for table, batches in _rows(nps_rows, orders_rows, span):
            for batch in batches:
                _insert(connection, table, batch)
        for index in _INDEXES:
            connection.execute(index)
        connection.commit()
    finally:
        connection.close()
    return unfinished.replace(path)


def make_mariadb(
    connection: pymysql.Connection[Any],
    *,
    nps_rows: int = 150_000,
    orders_rows: int = 10_000,
    span: Span = JANUARY,
) -> None:
    """Makes the shop's tables in the connection's database, in place of any that are there.

    Args:
        connection: Opened with ``local_infile=True``, as `MariaDB.connect` does.
        nps_rows: Rows of ``nps``; 5 million take about 16 s.
        orders_rows: Rows of ``orders``; 1 million take about 7 s.
        span: The days over which the rows are spread.
    """
    with connection.cursor() as cursor, tempfile.TemporaryDirectory() as folder:
        for table, columns in _COLUMNS.items():
            definition = columns.format(auto_increment="AUTO_INCREMENT")
            cursor.execute(f"DROP TABLE IF EXISTS {table}")
            cursor.execute(f"CREATE TABLE {table} (\n{definition}\n) CHARACTER SET utf8mb4")
        for index in _INDEXES:
            cursor.execute(index)
        for table, batches in _rows(nps_rows, orders_rows, span):
            for batch in batches:
                _load(cursor, table, batch, Path(folder) / f"{table}.csv")
                connection.commit()


def a_day_passes(
    connection: sqlite3.Connection | pymysql.Connection[Any],
    day: date,
    *,
    changed_rows: int = 40,
    deleted_rows: int = 10,
) -> DayCounts:
    """Lets customers come for a day, and commits: the same in both engines.

    Orders made and last changed before the day are changed and softly deleted; it does less of
    that when there are not enough of them.

    Args:
        connection: To the shop, of `sqlite3` or pymysql.
        day: The day to which all new times belong.
        changed_rows: Orders to change.
        deleted_rows: Orders to delete.
    """
    nps_rows, orders_rows = 5_000, 300
    span, seed = Span(day, 1), day.toordinal()
    rng = np.random.default_rng(seed)
    known = _fetch(
        connection,
        "SELECT id FROM orders WHERE created_at < {0} AND modified < {0} AND deleted IS NULL"
        " ORDER BY id",
        [f"{day} 00:00:00"],
    )
    ids = [int(row[0]) for row in known]
    chosen = rng.permutation(len(ids))[: changed_rows + deleted_rows]
    to_delete = [ids[position] for position in chosen[:deleted_rows]]
    to_change = [ids[position] for position in chosen[deleted_rows:]]
    moments = (span.start_us + rng.integers(0, span.length_us, len(chosen))).tolist()
    times = [str(moment) for moment in pa.array(moments).cast(pa.timestamp("us")).to_pylist()]

    highest = _fetch(connection, "SELECT COALESCE(MAX(id), 0) FROM orders", [])
    for batch in shop_rows.orders(orders_rows, span, seed, first_id=int(highest[0][0]) + 1):
        _insert(connection, "orders", batch)
    for batch in shop_rows.nps(nps_rows, span, seed):
        _insert(connection, "nps", batch.select(["created_at", "score"]))
    _execute_many(
        connection,
        "UPDATE orders SET deleted = {0}, modified = {1} WHERE id = {2}",
        [(time, time, id_) for time, id_ in zip(times, to_delete, strict=False)],
    )
    _execute_many(
        connection,
        "UPDATE orders SET status = {0}, amount = amount + 1, modified = {1} WHERE id = {2}",
        [
            ("shipped", time, id_)
            for time, id_ in zip(times[len(to_delete) :], to_change, strict=True)
        ],
    )
    connection.commit()
    return DayCounts(nps_rows, orders_rows, len(to_change), len(to_delete))


def _rows(
    nps_rows: int, orders_rows: int, span: Span
) -> Iterator[tuple[str, Iterable[pa.RecordBatch]]]:
    yield "nps", shop_rows.nps(nps_rows, span)
    yield "orders", shop_rows.orders(orders_rows, span)


def _load(cursor: Any, table: str, batch: pa.RecordBatch, path: Path) -> None:
    """Loads a batch by way of a CSV file, in which NULL is an empty field, or `_NULL` as text."""
    names = batch.schema.names
    null = {name: _NULL if name == "comment" else "" for name in names}
    if "comment" in names:
        position = names.index("comment")
        batch = batch.set_column(position, "comment", batch.column("comment").fill_null(_NULL))
    pyarrow.csv.write_csv(batch, path, pyarrow.csv.WriteOptions(include_header=False))
    cursor.execute(
        f"LOAD DATA LOCAL INFILE %s INTO TABLE {table} CHARACTER SET utf8mb4"
        " FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY ''"
        f" ({', '.join(f'@{name}' for name in names)})"
        f" SET {', '.join(f'{name} = NULLIF(@{name}, %s)' for name in names)}",
        [str(path), *null.values()],
    )


def _insert(connection: Any, table: str, batch: pa.RecordBatch) -> None:
    names = batch.schema.names
    texts = [
        column.cast(pa.string())
        if pa.types.is_temporal(column.type) or pa.types.is_decimal(column.type)
        else column
        for column in batch.columns
    ]
    values = ", ".join(f"{{{position}}}" for position in range(len(names)))
    _execute_many(
        connection,
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})",  # noqa: S608
        list(zip(*(column.to_pylist() for column in texts), strict=True)),
    )


def _execute_many(connection: Any, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    cursor = connection.cursor()
    cursor.executemany(_with_markers(connection, statement), rows)
    cursor.close()


def _fetch(connection: Any, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a query; a place that occurs twice takes its value twice."""
    repeated = [values[int(part[0])] for part in statement.split("{")[1:]]
    cursor = connection.cursor()
    cursor.execute(_with_markers(connection, statement), repeated)
    rows: list[tuple[Any, ...]] = list(cursor.fetchall())
    cursor.close()
    return rows


def _with_markers(connection: Any, statement: str) -> str:
    """The statement with the parameter markers of the connection's driver."""
    marker = "?" if isinstance(connection, sqlite3.Connection) else "%s"
    return statement.format(*[marker] * statement.count("{"))
