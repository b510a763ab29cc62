"""SQLite as a warehouse: a test's own, which docs/add-an-engine.md walks through.

It differs wherever Ferry leaves that to an engine: names in backticks, no DELETE … USING, no CREATE
SCHEMA (a schema is a file), no types but numbers, text and bytes. Decimals, dates and times are
text that says itself what it is, so that they come back from any expression: a NUL, which no text
from a source can have here, the kind, and the canonical text.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import zstandard
from pydantic import Field

from blocks.stage import Stage
from blocks.stages import FolderStage
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import FileLayout, Staged, StageFormat
from ferry.capabilities import Capabilities
from ferry.errors import BusyError, ConflictError, DataError, FatalError, FerryError, SchemaError
from ferry.fingerprints.canonical import DIGESTS, digest, value_text
from ferry.fingerprints.dialect import SumDialect
from ferry.schema import Column, DataType, Kind, TableName, TableSchema
from ferry.statements import PARAM, Statement, Transaction, quoted, requoted
from ferry.target.retype import HeldColumns
from tests.blocks.warehouses.engine import Engine

# --- types: how each kind is declared. In `JSON` alone a text of digits would become a number, and
# what has a converter of Python's own would get it: https://sqlite.org/datatype3.html
_ORDERED = " COLLATE ferry_order"
_NATIVE = {
    **{Kind.BOOLEAN: "BOOLEAN", Kind.TEXT: "TEXT", Kind.BINARY: "BLOB", Kind.JSON: "JSON_TEXT"},
    **{Kind.INT16: "SMALLINT", Kind.INT32: "INTEGER", Kind.INT64: "BIGINT"},
    **{Kind.FLOAT32: "FLOAT", Kind.FLOAT64: "DOUBLE", Kind.DATE: "DATE_TEXT" + _ORDERED},
    **{Kind.TIMESTAMP: "TIMESTAMP_TEXT" + _ORDERED, Kind.TIMESTAMPTZ: "MOMENT_TEXT"},
    Kind.TIME: "TIME_TEXT",
}
_KINDS = {native.removesuffix(_ORDERED): kind for kind, native in _NATIVE.items()}


def _kept(native: str) -> DataType:
    if match := re.fullmatch(r"DECIMAL_TEXT\((\d+),(\d+)\)", native):
        return DataType(Kind.DECIMAL, int(match[1]), int(match[2]))
    return DataType(_KINDS.get(native, Kind.OTHER))


# --- values: what is stored of each, and what it was
_SAYS_ITSELF = {Decimal: Kind.DECIMAL, date: Kind.DATE, time: Kind.TIME, datetime: Kind.TIMESTAMP}
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    Kind.DECIMAL: Decimal,
    Kind.DATE: date.fromisoformat,
    Kind.TIME: time.fromisoformat,
    Kind.TIMESTAMP: datetime.fromisoformat,
    Kind.TIMESTAMPTZ: lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC),
}


def stored(value: Any) -> Any:
    """What SQLite is given for a value. Raises DataError for one that it would not keep."""
    text = value if isinstance(value, str) else ""
    is_broken = "\0" in text or text.encode(errors="ignore").decode() != text
    if is_broken or (isinstance(value, float) and math.isnan(value)):
        raise DataError("SQLite keeps no NaN, no text with a NUL and none that is no Unicode")
    kind = _SAYS_ITSELF.get(type(value))
    if kind is Kind.TIMESTAMP and value.tzinfo:
        kind = Kind.TIMESTAMPTZ
    return f"\0{kind} {value_text(value)}" if kind else value


def was(held: Any) -> Any:
    """What was stored: a text that says what it is, is that."""
    if isinstance(held, str) and held.startswith("\0"):
        kind, text = held[1:].split(" ", 1)
        return _FROM_TEXT[kind](text)
    return held


def _order(one: str, other: str) -> int:
    """How SQLite compares decimals, dates and timestamps: 1.0 is 1, a day is its midnight."""
    left, right = (_comparable(was(text)) for text in (one, other))
    return int(left > right) - int(left < right)


def _comparable(value: Any) -> Any:
    if isinstance(value, str):  # out of a statement's text
        value = Decimal(value) if value.lstrip("-").isdigit() else datetime.fromisoformat(value)
    return datetime(*value.timetuple()[:3]) if type(value) is date else value


# By declared types, where they are known: a truth value is a number in any other expression.
sqlite3.register_converter("BOOLEAN", lambda raw: raw != b"0")
sqlite3.register_converter("DECIMAL_TEXT", lambda raw: Decimal(raw.decode().split(" ")[-1]))

# --- errors: the driver's as Ferry's, without their texts, which hold values
_UNKNOWN = re.compile(r"no such (table|column)|.* has no column named|unknown database|duplicate")
_REFUSED = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)


@contextmanager
def translated(file: str = "", busy: type[FerryError] = BusyError) -> Iterator[None]:
    """Raise what SQLite raises as a `FerryError`, chained and free of values."""
    try:
        yield
    except sqlite3.Error as error:
        code, message = getattr(error, "sqlite_errorcode", 0) & 0xFF, str(error)
        ours: FerryError = FatalError("SQLite refuses the statement")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            ours = busy("other connections were at the database all the time", todo="Try again.")
        elif code in _REFUSED or message.startswith(("malformed JSON", "user-defined function")):
            ours = DataError("the warehouse cannot hold a value", found=file or None)
        elif _UNKNOWN.match(message):
            ours = SchemaError("the warehouse does not know the table or column", found=message)
        error.args = (f"{type(error).__name__}: {ours}",)
        raise ours from error


# --- fingerprints: what a value says it is, functions of ours make the canonical text of


class SQLiteFingerprint(SumDialect):
    """One function makes the text of every kind."""

    def text(self, column: Column) -> str:
        return f"ferry_text({self.quoted(column.name)})"

    def digest(self, text: str) -> str:
        return f"ferry_{self.algorithm}({text})"

    def has_json(self, column: Column) -> str:
        return f"TRIM({self.quoted(column.name)}, CHAR(9, 10, 13, 32)) <> 'null'"

    def whole(self, hexadecimal: str) -> str:
        return f"ferry_whole({hexadecimal})"

    def floating(self, column: Column) -> str:
        return self.quoted(column.name)

    def total(self, number: str, *, scaled: bool = False) -> str:  # one for both
        return f"ferry_total({number})"  # SQLite's own SUM ends at 63 bits

    def modulo(self, number: str, divisor: int) -> str:
        return f"({number} % {divisor})"

    def days(self, column: Column) -> str:
        return f"ferry_since_1970({self.quoted(column.name)})"

    microseconds = days


class _Total:
    """A sum of whole numbers or decimals, as text: it has more digits than SQLite's numbers."""

    sum: Decimal | None = None

    def step(self, held: Any) -> None:
        if held is not None:
            self.sum = Context(prec=200).add(self.sum or Decimal(0), Decimal(was(held)))

    def finalize(self) -> str | None:
        return None if self.sum is None else value_text(self.sum)


def _since_1970(value: Any) -> int:
    """The days of a date, the microseconds of a time."""
    if type(value) is date:
        return value.toordinal() - date(1970, 1, 1).toordinal()
    moment = datetime.combine(date(1970, 1, 1), value) if isinstance(value, time) else value
    return int((moment - datetime(1970, 1, 1, tzinfo=moment.tzinfo)) // timedelta(microseconds=1))


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    **{f"ferry_{each}": partial(digest, algorithm=each) for each in DIGESTS},
    "ferry_text": value_text,
    "ferry_whole": lambda digits: int(digits, 16),
    "ferry_since_1970": _since_1970,
    "octet_length": lambda text: len(text.encode() if isinstance(text, str) else text),
    "ferry_moment": lambda text: stored(datetime.fromisoformat(text)),
}


def _called(function: Callable[[Any], Any], held: Any) -> Any:
    return None if held is None else function(was(held))


# --- files: rows out of staged CSV, as docs/staged-files.md describes it
_BAD: Any = object()
_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^,\n]*))([,\n])')
_CODES = {Kind.INT16: "h", Kind.INT32: "i", Kind.INT64: "q", Kind.FLOAT32: "f", Kind.FLOAT64: "d"}


def _number(code: str, text: str) -> Any:
    return struct.unpack(code, struct.pack(code, float(text) if code in "fd" else int(text)))[0]


_WRITTEN: dict[str, Callable[[str], Any]] = {
    **_FROM_TEXT,
    **{kind: partial(_number, code) for kind, code in _CODES.items()},
    Kind.BOOLEAN: {"true": True, "false": False}.__getitem__,
    Kind.TEXT: str,
    Kind.BINARY: bytes.fromhex,
    Kind.JSON: lambda text: (json.loads(text), text)[1],
}


def _rows(text: str, layout: FileLayout, file: str) -> Iterator[list[Any]]:
    """The rows of a file. Raises DataError with file, line and column."""
    row: list[Any] = []
    for found in _FIELD.finditer(text):
        in_quotes, plain, end = found.groups()
        column, value = layout.columns[len(row)], _BAD
        with suppress(ArithmeticError, LookupError, ValueError, struct.error):
            written = plain if in_quotes is None else in_quotes.replace('""', '"')
            is_null = in_quotes is None and plain == layout.null_marker
            value = None if is_null else _WRITTEN[column.type.kind](written)
        if value is _BAD:  # the error that was met is gone: it would hold the value
            line = 1 + text.count("\n", 0, found.start())
            where = f"file {file}, line {line}, column {column.name}"
            raise DataError("the warehouse cannot hold a value", found=where)
        row.append(value)
        if end == "\n":
            yield row
            row = []


class SQLiteTransaction:
    """Statements on one connection; who opened it ends it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: Statement | str, file: str = "") -> int:
        with translated(file):
            return max(self._run(statement).rowcount, 0)

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        with translated():
            return self._run(statement).fetchall()

    def _run(self, statement: Statement | str) -> sqlite3.Cursor:
        whole = Statement.of(statement)
        text = whole.rendered("?", lambda part: requoted(part, backticked))
        return self._connection.execute(text, [stored(value) for value in whole.values])


def backticked(name: str) -> str:
    """In double quotes a name that SQLite does not know is a text: sqlite.org/quirks.html."""
    return "`" + name.replace("`", "``") + "`"


_begun: dict[tuple[Path, int], SQLiteTransaction] = {}  # by folder and thread


class SQLiteWarehouse(Warehouse):
    """A folder of SQLite files, one for each schema, that tables are loaded into.

    Example:
        ```python
        from tests.blocks.warehouses.sqlite_warehouse import SQLiteWarehouse
        print(SQLiteWarehouse(folder="warehouse").fetch("SELECT 42"))
        ```
    """

    _block_type_name = "SQLite Warehouse"
    _block_type_slug = "sqlite-warehouse"
    _description = "A folder of SQLite files that Ferry's tests load tables into."

    fingerprints: ClassVar[SumDialect] = SQLiteFingerprint()
    capabilities: ClassVar[Capabilities] = Capabilities(
        stage_formats=(StageFormat.CSV,),
        max_identifier_bytes=255,
        max_text_bytes=None,
        max_columns=2000,  # https://sqlite.org/limits.html
        dialect="sqlite",
        deletes_using=False,
    )

    folder: Path = Field(description="The folder; made, with those above it, when missing.")
    busy_timeout_seconds: float = Field(default=60.0, description="How long to wait for others.")

    def native_type(self, data_type: DataType) -> str:
        if data_type.kind is Kind.DECIMAL and 0 < (data_type.precision or 0) <= 38:
            return f"DECIMAL_TEXT({data_type.precision},{data_type.scale or 0}){_ORDERED}"
        if data_type.kind in _NATIVE:
            return _NATIVE[data_type.kind]
        raise SchemaError("SQLite has no type for it", found=str(data_type))

    def describe(self, table: TableName, tx: Transaction | None = None) -> TableSchema | None:
        rows = self._catalog(table, tx)
        columns = tuple(Column(name, _kept(kind), not need, kind) for name, kind, need, *_ in rows)
        key = sorted((each[3], each[0]) for each in rows if each[3])
        return TableSchema(table, columns, tuple(name for _, name in key)) if rows else None

    def held_columns(self, table: TableName) -> HeldColumns:
        """All of them: what CAST makes of a decimal or a date does not say any more what it is."""
        return HeldColumns({each[0]: "a table of SQLite's" for each in self._catalog(table)})

    def filled_columns(self, table: TableName) -> set[str]:
        return {each[0] for each in self._catalog(table) if each[4] is not None}

    def _catalog(self, table: TableName, tx: Transaction | None = None) -> list[tuple[Any, ...]]:
        """Name, type, whether it is NOT NULL, place in the key and default of each column."""
        if table.schema and not self.has_schema(table.schema):
            return []
        names = 'name, type, "notnull", pk, dflt_value'
        select = f"SELECT {names} FROM pragma_table_info({PARAM}, {PARAM})"
        return (tx or self).fetch(Statement(select, (table.name, table.schema or "main")))

    def has_schema(self, schema: str) -> bool:
        return (self.folder / f"{schema}.sqlite").is_file()

    def create_schema(self, schema: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{schema}.sqlite").touch()

    def tables_in(self, schema: str) -> list[str]:
        tables = f"SELECT name FROM {quoted(schema)}.sqlite_master WHERE type = 'table'"
        return [name for (name,) in self.fetch(tables)] if self.has_schema(schema) else []

    def today(self) -> date:
        return date.fromisoformat(self.fetch(sql.today())[0][0])  # SQLite tells it as text

    def copy_in(self, staging_table: TableName, staged: Staged, stage: Stage) -> int:
        layout, rows = staged.layout, 0
        if layout.format is not StageFormat.CSV:
            raise SchemaError("SQLite reads CSV alone", found=str(layout.format))
        with self.transaction() as tx:
            for file in staged.files:
                name = file.key.rpartition("/")[2]
                with closing(stage.open(file)) as content:
                    text = zstandard.ZstdDecompressor().stream_reader(content).read().decode()
                for row in _rows(text, layout, name):
                    rows += tx.execute(sql.insert_rows(staging_table, layout.columns, [row]), name)
        return rows

    @contextmanager
    def transaction(self) -> Iterator[SQLiteTransaction]:
        """The thread's own if one is open, as only one can write: each may from its beginning."""
        thread = (self.folder, threading.get_ident())
        if thread in _begun:
            yield _begun[thread]
            return
        with self._connection() as connection:
            with translated():
                connection.execute("BEGIN IMMEDIATE")
            _begun[thread] = SQLiteTransaction(connection)
            try:
                yield _begun[thread]
                with translated(busy=ConflictError):
                    connection.execute("COMMIT")
            finally:
                del _begun[thread]  # what was not committed goes with the connection

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        # All attached files are committed or none, since `main` is one: sqlite.org/lang_attach.html
        self.create_schema("main")
        file, known = self.folder / "main.sqlite", sqlite3.PARSE_DECLTYPES
        connection = sqlite3.connect(file, self.busy_timeout_seconds, known, isolation_level=None)
        with closing(connection):
            connection.text_factory = lambda raw: was(raw.decode())
            connection.create_collation("ferry_order", _order)
            connection.create_aggregate("ferry_total", 1, _Total)  # type: ignore[arg-type]
            for name, function in _FUNCTIONS.items():
                connection.create_function(name, 1, partial(_called, function), deterministic=True)
            with translated():
                for each in {*self.folder.glob("*.sqlite")} - {file}:
                    connection.execute(f"ATTACH ? AS {backticked(each.stem)}", (str(each),))
            yield connection


@pytest.fixture
def sqlite_engine(folder_stage: FolderStage, tmp_path: Path) -> Engine:
    warehouse = SQLiteWarehouse(folder=tmp_path / "made" / "here")
    warehouse.create_schema("own")

    def conflict(engine: Engine, table: str) -> None:
        hasty = SQLiteWarehouse(folder=warehouse.folder, busy_timeout_seconds=0.1)
        with hasty._connection() as reader, hasty.transaction() as tx:
            reader.execute("BEGIN")
            reader.execute(f"SELECT * FROM {table}").fetchall()
            tx.execute(f"UPDATE {table} SET id = 2")

    how = {"as_number": "json({})", "as_moment": "ferry_moment({})", "goes_on_after_errors": True}
    return Engine(warehouse, folder_stage, "own", tmp_path, conflict, **how)  # type: ignore[arg-type]
