"""The sums of what is read, over its record batches: by DuckDB, within this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from blocks.warehouses.duckdb.fingerprint import DuckDBFingerprint
from ferry.batch import RowsAndSums
from ferry.fingerprints.sums import (
    Summed,
    ValueSums,
    no_sums,
    read_sums,
    select_sums,
    select_sums_by,
)
from ferry.schema import Column, TableName

_BATCH = TableName("", "ferry_batch")
_databases: list[duckdb.DuckDBPyConnection] = []
_making = threading.Lock()


class BatchSums:
    """The sums of all batches that it was given.

    Args:
        columns: The columns, in the batches' order.
        what: What is summed of them.
        groups: How many windows, or pieces, the rows are of, if the last column is the number of
            theirs.
    """

    def __init__(self, columns: Sequence[Column], what: Sequence[Summed], groups: int = 0) -> None:
        self.sums: ValueSums = no_sums(what)
        self._groups = [RowsAndSums(0, self.sums)] * groups
        self._what = tuple(what)
        self._names = [column.name for column in columns]
        self._statement = (
            select_sums_by(DuckDBFingerprint(), _BATCH, what, columns[-1])
            if groups
            else select_sums(DuckDBFingerprint(), _BATCH, what)
        ).sql
        self._connection: duckdb.DuckDBPyConnection | None = None

    @property
    def by_group(self) -> tuple[RowsAndSums, ...]:
        """What each window, or piece, has, in their order."""
        return tuple(self._groups)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add a batch's, whatever its columns are called."""
        named = pa.RecordBatch.from_arrays(batch.columns, names=self._names)
        if self._connection is None:
            self._connection = _database().cursor()
        self._connection.register(_BATCH.name, named)
        rows = self._connection.execute(self._statement).fetchall()
        self._connection.unregister(_BATCH.name)
        for row in rows:
            if not self._groups:
                self.sums += read_sums(self._what, row)
                continue
            group, count, *values = row
            sums = read_sums(self._what, values)
            self.sums += sums
            before = self._groups[group]
            self._groups[group] = RowsAndSums(before.rows + count, before.sums + sums)


def _database() -> duckdb.DuckDBPyConnection:
    """This process's own, without a file: to make one takes longer than to sum a window."""
    with _making:
        if not _databases:
            # One thread: others read, write and upload at the same time.
            _databases.append(duckdb.connect(config={"threads": 1}))
        return _databases[0]
