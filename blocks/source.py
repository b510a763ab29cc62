"""What a source can do. One folder per database stands in `blocks/sources/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import pyarrow as pa

from blocks.named import NamedBlock
from ferry.batch import CursorValue, ExtractQuery, Snapshot
from ferry.errors import RequestError
from ferry.fingerprints.canonical import DIGESTS, Digest
from ferry.fingerprints.dialect import FingerprintDialect
from ferry.resume.cuts import Cuts
from ferry.schema import TableName, TableSchema
from ferry.statements import Statement


@dataclass
class Reading:
    """What a source reads for one query, and how.

    Attributes:
        batches: The rows, as `Source.read` gives them.
        connections: By how many connections they are read at once.
        snapshot: Whether these read from one snapshot, known with the first batch; None where one
            connection reads, always from one.
        why: Why it is not as it was asked for, if it is not: by fewer, or not from one snapshot.
        shares: Which pieces each connection reads, one after the other; none if all is one piece.
        begun: Whether, once a batch has come, all connections read: none opens the table later on.
    """

    batches: Iterator[pa.RecordBatch]
    connections: int = 1
    snapshot: Snapshot | None = None
    why: str = ""
    shares: tuple[tuple[int, ...], ...] = ()
    begun: bool = True

    def close(self) -> None:
        """End what still reads; nothing where all was read."""
        if isinstance(self.batches, Generator):
            self.batches.close()


class Source(NamedBlock, ABC):
    """A database that tables are read from.

    A block is a plain value, shared by threads: what it has open between calls, the process keeps
    (`blocks.pool`).

    Attributes:
        fingerprints: How its engine writes fingerprints; None if it computes none, as a web API.
        reads_ranges: Whether it reads a table by several connections at once, if it is asked to.
    """

    fingerprints: ClassVar[FingerprintDialect | None] = None
    reads_ranges: ClassVar[bool] = False

    @abstractmethod
    def describe(self, table: TableName, exclude: Collection[str] = ()) -> TableSchema:
        """The table's columns, types and primary key, from the catalog.

        Args:
            table: The table; without a schema, in the block's own.
            exclude: Columns to leave out, whatever their type; upper and lower case are one.

        Raises:
            SchemaError: No such table or excluded column, no column left, or a column whose type
                has no mapping.
            AccessError: The server refuses the credentials or its certificate does not verify.
            ConnectionLostError: The server cannot be reached; a retry may help.
        """

    @abstractmethod
    def read(self, query: ExtractQuery) -> Iterator[pa.RecordBatch]:
        """The rows as record batches of `arrow_schema(query.schema.columns)`, in bounded memory.

        All batches come from one consistent snapshot of the table. A query with a cursor leaves out
        what `count_uncarried` counts, whether it has bounds or not.

        Raises:
            DataError: A value that cannot travel unchanged, with its column's name.
            ConnectionLostError: The connection was cut, or the query killed; a retry may help.
        """

    def read_at_once(
        self,
        query: ExtractQuery,
        connections: int,  # noqa: ARG002  # some sources can
        key: Sequence[str] = (),  # noqa: ARG002
        *,
        only_one_snapshot: bool = False,  # noqa: ARG002
    ) -> Reading:
        """The rows, read by up to so many connections at once, each a range of the table's key.

        Every row is in exactly one range. Where the source cannot cut the table, it is read by one.

        Args:
            query: Which rows.
            connections: By how many, at most.
            key: The columns that identify a row, for a table without a primary key.
            only_one_snapshot: Read by one connection where several would not read one snapshot.

        Raises:
            AccessError, ConnectionLostError, BusyError: As for `describe`; reading raises what
                `read` does, and a StaleReadError where another table took this one's place before
                all had begun.
        """
        return Reading(self.read(query), why="this source is read by one connection")

    def cut(self, query: ExtractQuery, count: int) -> Cuts:  # noqa: ARG002
        """Where a whole table can be cut into so many pieces, or fewer, by its primary key.

        Every row is in exactly one piece for as long as its key is what it is, and the table is
        `still_cut`.

        Raises:
            AccessError, ConnectionLostError, BusyError: As for `describe`.
        """
        return Cuts(why="this source's tables are not cut")

    def still_cut(self, query: ExtractQuery, cuts: Cuts) -> bool:  # noqa: ARG002
        """Whether the table still has the key by which it was cut, in the same order.

        Raises:
            AccessError, ConnectionLostError, BusyError: As for `describe`.
        """
        return False

    def read_pieces(
        self,
        query: ExtractQuery,  # noqa: ARG002
        connections: int,  # noqa: ARG002
        cuts: Cuts,  # noqa: ARG002
        pieces: Sequence[int],  # noqa: ARG002
    ) -> Reading:
        """Some pieces of a whole table, each whole before the next of its connection begins.

        The batches have a column more, `PIECE_NUMBER`, at their end: the number of the row's piece.

        Args:
            query: Which rows.
            connections: By how many they are read at once, at most.
            cuts: Where it is cut.
            pieces: Which of the pieces, by their number from 0 on.

        Raises:
            StaleReadError: The table is not `still_cut`; reading raises it, too, as long as not all
                have begun.
            RequestError: This source's tables are not cut.
            AccessError, ConnectionLostError, BusyError: As for `describe`; reading raises what
                `read` does.
        """
        raise RequestError("this source's tables are not cut")

    @abstractmethod
    def bounds(self, table: TableName, column: str) -> tuple[CursorValue, CursorValue] | None:
        """The lowest and highest value of a column; None when it has none."""

    @abstractmethod
    def count_uncarried(
        self, table: TableName, column: str, reach: ExtractQuery | None = None
    ) -> int:
        """How many rows no window and no watermark over this column would ever carry.

        Those whose value there is NULL, or nothing that has a place in the column's order: a zero
        date, text that is no time. A look by the column's index, if it has one, where there are
        none.

        Args:
            table: The table.
            column: The column.
            reach: A query whose bounds nothing reaches beyond: what lies there is counted, too.

        Raises:
            SchemaError: No such table or column.
            RequestError: The column's type has no exact order.
        """

    @abstractmethod
    def now(self) -> datetime:
        """The source's clock, in UTC; this machine's where the source has none of its own.

        Up to when a window counts as loaded is told by it: a server's rows are committed by the
        server's clock.

        Raises:
            ConnectionLostError, BusyError: The source cannot be asked; a retry may help.
        """

    @abstractmethod
    def estimate_rows(self, query: ExtractQuery) -> int | None:
        """About how many rows `query` will read, cheaply; None when that cannot be told."""

    def row_bytes(self, table: TableName) -> int | None:  # noqa: ARG002  # some catalogs tell
        """About how many bytes a row has, by the catalog; None when it does not tell."""
        return None

    def digests(self) -> tuple[Digest, ...]:
        """The digests that its engine can make, the one to prefer first.

        Raises:
            ConnectionLostError, BusyError: A retry may help.
        """
        return DIGESTS

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:  # noqa: ARG002
        """The rows of one query in the engine's own SQL, such as for fingerprints: small answers.

        Raises:
            RequestError: The source takes no SQL. No retry helps.
            ConnectionLostError, BusyError: A retry may help.
        """
        raise RequestError(
            "the source takes no SQL, so that its rows cannot be compared where they are",
            todo="Leave its tables out.",
        )
