"""MySQL, MariaDB, and what speaks their protocol: RDS, Aurora."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field, SecretStr
from pymysql.cursors import Cursor

from blocks.source import Reading, Source
from blocks.sources.cursors import CURSOR_KINDS
from blocks.sources.mysql import catalog
from blocks.sources.mysql.characters import count_invalid, invalid_text
from blocks.sources.mysql.column_values import bounds, count_uncarried
from blocks.sources.mysql.connection import MySQLServer, session_of
from blocks.sources.mysql.cuts import conditions, cut, in_order
from blocks.sources.mysql.estimates import (
    explained_rows,
    fetch_rows,
    is_empty,
    rows_to_fetch_by,
)
from blocks.sources.mysql.fingerprint import MySQLFingerprint, digests
from blocks.sources.mysql.range_readers import read_alone, read_together
from blocks.sources.mysql.reader_process import (
    BATCH_BYTES,
    MySQLReader,
    OnProcess,
    ReadTimeoutError,
    UnreadableError,
)
from blocks.sources.mysql.select import Select, table_name
from blocks.sources.mysql.snapshot import Gate
from blocks.sources.names import carried
from ferry.batch import CursorValue, ExtractQuery
from ferry.errors import FerryError, RequestError, StaleReadError
from ferry.fingerprints.canonical import Digest
from ferry.fingerprints.dialect import FingerprintDialect
from ferry.resume.cuts import Cuts, in_shares
from ferry.schema import Column, TableName, TableSchema
from ferry.statements import Statement


class MySQLSource(Source):
    """A MySQL or MariaDB database that tables are read from.

    Rows are read by ConnectorX in a process of their own, each table or window by a single SELECT,
    which InnoDB answers from one snapshot; the catalog is read by PyMySQL. How types travel, what
    to grant and how TLS is verified stands in `docs/engines/mysql.md`.

    Example:
        ```python
        from blocks.sources import MySQLSource
        from ferry.batch import ExtractQuery
        from ferry.schema import TableName

        shop = MySQLSource(host="127.0.0.1", database="prod", user="ferry", password="…")
        schema = shop.describe(TableName("", "nps"))
        rows = sum(batch.num_rows for batch in shop.read(ExtractQuery(schema)))
        ```
    """

    _block_type_name = "MySQL Source"
    _block_type_slug = "mysql-source"
    _description = "A MySQL or MariaDB database that Ferry reads tables from."

    fingerprints: ClassVar[FingerprintDialect | None] = MySQLFingerprint()
    reads_ranges: ClassVar[bool] = True

    host: str = Field(description="Name or address of the server, as in its certificate.")
    port: int = Field(default=3306, ge=1, le=65535, description="TCP port of the server.")
    database: str = Field(description="The database whose tables are read.")
    user: str = Field(description="A user who may SELECT from these tables; no more is needed.")
    password: SecretStr = Field(description="That user's password.")
    ca_path: str | None = Field(
        default=None,
        description="PEM file of the authorities that may vouch for the server; by default, "
        "those that this machine trusts.",
    )
    verify_tls: bool | None = Field(
        default=None,
        description="Verify the server's certificate and its name. By default yes, except that "
        "a server on loopback without a ca_path is spoken to without TLS. No: TLS if the server "
        "offers it, unverified.",
    )
    connect_timeout_seconds: int = Field(
        default=10, ge=1, description="How long to wait for a connection."
    )
    read_timeout_seconds: int = Field(
        default=600,
        ge=1,
        description="How long to wait for the next rows, or for an answer from the catalog.",
    )
    batch_rows: int = Field(
        default=65_536,
        ge=1,
        description="Rows in a batch, at most; of tables with long rows, fewer.",
    )

    def describe(self, table: TableName, exclude: Collection[str] = ()) -> TableSchema:
        """The table's or view's columns, types and primary key, from `information_schema`.

        Invisible and generated columns are columns like others.

        Args:
            table: The table; without a schema, in the block's database.
            exclude: Columns to leave out, whatever their type; upper and lower case are one.

        Raises:
            SchemaError: No such table, or a column whose type has no mapping; tells names that
                come close. No retry helps.
            AccessError: The server refuses the credentials, or its certificate does not verify.
            ConnectionLostError, BusyError: A retry may help.
        """
        with self._server.cursor(table) as cursor:
            found = catalog.read(cursor, table, self.database, self._server.address)
        kept = carried([column.name for column in found.columns], exclude, table)
        columns = tuple(column.mapped(table) for column in found.columns if column.name in kept)
        return TableSchema(table, columns, found.key)

    def read(self, query: ExtractQuery) -> Iterator[pa.RecordBatch]:
        """The rows as batches of `arrow_schema(query.schema.columns)`, from one snapshot.

        A batch has at most `batch_rows` rows and about 2 MB, or a few rows that are longer.
        Bounds of a DATETIME column are wall clock in the query's zone; in the hour that a zone
        repeats, both passes are one.

        Raises:
            DataError: A zero date (unless the query says "null"), or a value that cannot travel
                unchanged. No retry helps.
            SchemaError: The table or a column is not there any more.
            RequestError: A bound that the cursor column cannot be compared with.
            ConnectionLostError: The connection was cut, or nothing came for
                `read_timeout_seconds`; a retry may help.
            BusyError: The server stopped the statement; a retry may help.
        """
        with self._server.cursor(
            query.schema.name
        ) as cursor:  # also finds what ConnectorX takes 30 s to tell
            select = self._select(cursor, query)
            expected = rows_to_fetch_by(cursor, select)
            if is_empty(cursor, select, expected):
                return
            reader = self._reader(cursor, select, expected)
        yield from self._rows(select, reader)

    def read_at_once(
        self,
        query: ExtractQuery,
        connections: int,
        key: Sequence[str] = (),
        *,
        only_one_snapshot: bool = False,
    ) -> Reading:
        """The rows, read by up to so many connections at once: each a range of the key.

        From one snapshot, where the table can be locked for a moment, for which the user needs the
        right LOCK TABLES; else each range is read from a snapshot of its own.

        Raises:
            AccessError, ConnectionLostError, BusyError: As for `describe`; reading raises what
                `read` does, the first of what the ranges meet: then none is read on.
        """
        if connections < 2:
            return Reading(self.read(query))
        with self._server.cursor(query.schema.name) as cursor:
            whole = self._select(cursor, query)
            cuts = cut(cursor, whole, self.database, key, connections)
            within = conditions(cursor, query.schema.name, self.database, key, cuts)
            if not within:
                return Reading(self.read(query), why=cuts.why)
            selects = [self._select(cursor, query, each) for each in within]
            reader = self._reader(cursor, whole, rows_to_fetch_by(cursor, whole))
            of = catalog.identity(cursor, query.schema.name, self.database)
        by_one = partial(self.read, query) if only_one_snapshot else None
        return self._read_together(selects, reader, of, by_one)

    def cut(self, query: ExtractQuery, count: int) -> Cuts:
        """As `Source.cut`: in milliseconds where the key begins with an integer, else by a scan."""
        with self._server.cursor(query.schema.name) as cursor:
            if not (of := catalog.identity(cursor, query.schema.name, self.database)):
                return Cuts(why="only a table of InnoDB is kept in the key's order")
            cuts = cut(cursor, self._select(cursor, query), self.database, (), count)
        return replace(cuts, of=of)

    def still_cut(self, query: ExtractQuery, cuts: Cuts) -> bool:
        """As `Source.still_cut`: of text, the collation is the order, too."""
        with self._server.cursor(query.schema.name) as cursor:
            return in_order(cursor, query.schema.name, self.database, cuts, (0,)) is not None

    def read_pieces(
        self, query: ExtractQuery, connections: int, cuts: Cuts, pieces: Sequence[int]
    ) -> Reading:
        """As `Source.read_pieces`: those of a connection by one statement, from one snapshot."""
        shares, selects = in_shares(pieces, connections), []
        with self._server.cursor(query.schema.name) as cursor:
            whole = self._select(cursor, query)
            for share in shares:
                how = in_order(cursor, query.schema.name, self.database, cuts, share)
                if how is None:
                    raise StaleReadError(
                        "the table or its key was altered at the source since it was cut into "
                        "pieces, or another server has answered",
                        todo="Run it again: it is read from the beginning. If there are several "
                        "servers behind the address, name one of them, or set `resume_rows: 0`.",
                    )
                selects.append(whole.in_pieces(how.number, how.within, how.order))
            reader = self._reader(cursor, whole, rows_to_fetch_by(cursor, whole))
        if len(selects) > 1:
            reading = self._read_together(selects, reader, cuts.of)
        else:
            rows = self._rows(selects[0], replace(reader, sql=selects[0].sql))
            reading = Reading(read_alone(rows, partial(self._refuse_swapped, whole, cuts.of)))
        reading.shares = shares
        return reading

    def _read_together(
        self,
        selects: Sequence[Select],
        reader: MySQLReader,
        of: str,
        by_one: Callable[[], Iterator[pa.RecordBatch]] | None = None,
    ) -> Reading:
        table, tag = selects[0].query.schema.name, selects[0].tag
        gate = Gate(self._server, table, self.database, len(selects), tag)
        ranges = [(select, replace(reader, sql=select.sql)) for select in selects]
        reading = Reading(iter(()), connections=len(ranges), begun=False)
        look = partial(self._refuse_swapped, selects[0], of)
        reading.batches = read_together(reading, gate, ranges, self._rows, look, by_one)
        return reading

    def _refuse_swapped(self, select: Select, of: str) -> None:
        with self._server.cursor(select.query.schema.name) as cursor:
            catalog.refuse_swapped(cursor, select.query.schema.name, self.database, of)

    def _reader(self, cursor: Cursor, select: Select, expected: int | None) -> MySQLReader:
        row_bytes = catalog.row_bytes(cursor, select.query.schema.name, self.database)
        batch_rows = max(1, min(self.batch_rows, BATCH_BYTES // (row_bytes or 1)))
        return MySQLReader(
            url=self._server.url(),
            sql=select.sql,
            # While rows are written elsewhere nobody reads from the server; its patience, 60 s by
            # default, has to be as long as ours.
            session=(
                *session_of(cursor),
                f"SET SESSION net_write_timeout = {self.read_timeout_seconds}",
            ),
            batch_rows=batch_rows,
            fetch_rows=fetch_rows(select.query, batch_rows, expected),
            read_timeout_seconds=self.read_timeout_seconds,
            address=self._server.address,
            ca_path=self.ca_path,
        )

    def _rows(
        self, select: Select, reader: MySQLReader, on_process: OnProcess = lambda _: None
    ) -> Generator[pa.RecordBatch]:
        rows = 0
        with contextlib.closing(reader.batches(on_process)) as batches:
            try:
                for result in batches:
                    yield select.batch(result, rows)
                    rows += result.num_rows
            except FerryError as error:
                if isinstance(error.__cause__, ReadTimeoutError):
                    self._server.kill(select.tag, error)
                if isinstance(error.__cause__, UnreadableError):
                    self._refuse_invalid(select)
                error.at(table=str(select.query.schema.name), step="extract")
                raise

    def bounds(self, table: TableName, column: str) -> tuple[CursorValue, CursorValue] | None:
        """The lowest and highest value of a column, without NULLs and zero dates.

        Of a TIMESTAMP column they have the zone UTC; of a DATETIME column, which does not know its
        zone, they have none. Fast if the column leads an index.

        Raises:
            SchemaError: No such table or column.
            RequestError: The column's type has no exact order.
            AccessError, ConnectionLostError, BusyError: As for `describe`.
        """
        with self._server.cursor(table) as cursor:
            found = self._cursor_column(cursor, table, column)
            return bounds(cursor, table_name(table, self.database), found)

    def count_uncarried(
        self, table: TableName, column: str, reach: ExtractQuery | None = None
    ) -> int:
        """As `Source.count_uncarried`: NULL, a zero date (any of the year 0), what is beyond.

        Other dates that do not exist, such as 2023-00-15, lie between two that do: windows meet
        them, and refuse them or leave them out.
        """
        with self._server.cursor(table) as cursor:
            known = reach.schema.column(column) if reach else None
            found = known or self._cursor_column(cursor, table, column)
            return count_uncarried(cursor, table_name(table, self.database), found, reach)

    def now(self) -> datetime:
        """The server's clock, in UTC."""
        with self._server.cursor() as cursor:
            cursor.execute("SELECT UTC_TIMESTAMP(6)")
            (moment,) = cursor.fetchone() or (None,)
        assert isinstance(moment, datetime)
        return moment.replace(tzinfo=UTC)

    def estimate_rows(self, query: ExtractQuery) -> int | None:
        """About how many rows `query` will read, as the server's optimizer guesses (EXPLAIN).

        Costs milliseconds. With an index on the cursor column usually within a factor of two;
        without one it is the table's whole size, itself off by up to half.
        """
        try:
            with self._server.cursor(query.schema.name) as cursor:
                return explained_rows(cursor, self._select(cursor, query))
        except FerryError:  # such as a view whose plan this user may not see
            return None

    def row_bytes(self, table: TableName) -> int | None:
        """About how many bytes a row has, by `information_schema`; None for a view."""
        with self._server.cursor(table) as cursor:
            return catalog.row_bytes(cursor, table, self.database)

    def digests(self) -> tuple[Digest, ...]:
        """The digests that the server can make: MySQL has no MD5 from 9.6 on."""
        with self._server.cursor() as cursor:
            return digests(cursor)

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        """The rows of one query in MySQL's SQL; times have no zone, moments are in UTC."""
        whole = Statement.of(statement)
        sql = (
            whole.rendered("%s", lambda text: text.replace("%", "%%"))
            if whole.values
            else whole.sql
        )
        with self._server.cursor() as cursor:
            cursor.execute(sql, whole.values or None)
            return list(cursor.fetchall())

    def _select(self, cursor: Cursor, query: ExtractQuery, within: str = "") -> Select:
        bound: Column | None = None
        if query.cursor is not None:
            bound = query.schema.column(query.cursor) or self._cursor_column(
                cursor, query.schema.name, query.cursor
            )
        tag = f"ferry-{secrets.token_hex(8)}"
        return Select.build(query, bound, self.database, tag, within)

    def _refuse_invalid(self, select: Select) -> None:
        """Tell which columns have text that is no Unicode, if that is why it cannot be read.

        Raises:
            DataError: There is some.
        """
        table = select.query.schema.name
        texts, counting = count_invalid(select.query.schema.columns, select.from_where)
        counts: list[tuple[Column, int]] = []
        with contextlib.suppress(FerryError), self._server.cursor(table) as cursor:
            if texts:
                cursor.execute(counting)
                counts = list(zip(texts, map(int, cursor.fetchone() or ()), strict=False))
        found = [(column, count) for column, count in counts if count]
        if found:
            raise invalid_text(found, table, table_name(table, self.database))

    def _cursor_column(self, cursor: Cursor, table: TableName, name: str) -> Column:
        found = catalog.read(cursor, table, self.database, self._server.address).column(name, table)
        if found.type.kind not in CURSOR_KINDS:
            raise RequestError(
                f"column {name!r} has no exact order",
                table=str(table),
                expected="a whole or decimal number, a date, a time or text",
                found=found.native,
                todo="Choose another cursor column.",
            )
        return found

    @property
    def _server(self) -> MySQLServer:
        return MySQLServer(
            host=self.host,
            port=self.port,
            database=self.database,
            user=self.user,
            password=self.password,
            ca_path=self.ca_path,
            verify_tls=self.verify_tls,
            connect_timeout_seconds=self.connect_timeout_seconds,
            read_timeout_seconds=self.read_timeout_seconds,
        )
