"""copy: the staged files into a fresh staging table of the warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import reduce
from operator import add
from typing import Any

from prefect import task

from blocks.stage import Stage
from blocks.stages.parts.batch_sums import BatchSums
from blocks.stages.parts.files import read_batches, read_rows
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import WINDOW_NUMBER, Batch, Copied, Extract, RowsAndSums, Staged
from ferry.errors import (
    ConnectionLostError,
    CountMismatchError,
    DataError,
    FerryError,
    SchemaError,
    ValuesDifferError,
)
from ferry.fingerprints.sums import (
    Summed,
    ValueSums,
    in_slices,
    joined,
    no_sums,
    read_sums,
    select_sums,
    select_sums_by,
    summed,
)
from ferry.schema import OWN_SCHEMA, Column, TableName
from tasks.own_tables import make_schema
from tasks.staging_tables import drop_quietly, emptied_is_told, new_staging_table
from tasks.step import STEP, explains, located, log_step

Rows = Sequence[Sequence[Any]]

_LOOK_AT_FILES = (
    "look at the staged files with `keep_staged_days`, and `insert_rows: 0`, as few rows go without"
)


@task(name="copy", task_run_name="copy {batch}", **STEP)
@explains
def copy(
    batch: Batch, extracted: Extract, staged: Staged, stage: Stage, warehouse: Warehouse
) -> Copied:
    """Load the batch into its staging table: by COPY, or by INSERT when it is a handful of rows.

    Safe to repeat: every attempt makes a staging table of its own, and drops it when it fails.

    Args:
        batch: What is carried.
        extracted: Its part files, which an INSERT reads.
        staged: Its staged files, which a COPY reads.
        stage: Where they are.
        warehouse: Where to.

    Raises:
        DataError: A value that does not fit, with file, line and column, or by INSERT with row and
            column. No retry helps.
        CountMismatchError: The warehouse loaded another number of rows than were staged.
        ValuesDifferError: It loaded other values than were read, by the columns' names.
        AccessError: The warehouse may not read the stage. No retry helps.
        ConfigurationError: It looks for it in another region. No retry helps.
        FatalError: A staged file is gone. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    with located(batch, "copy", warehouse):
        table = new_staging_table(batch.id, batch.spec.name, warehouse)
        try:
            _make(table, staged.layout.columns, warehouse)
            rows = _load(table, extracted, staged, stage, warehouse)
            _compare_row_counts(staged, rows)
            what = summed(
                staged.layout.values,
                digests_bytes=warehouse.capabilities.digests_bytes,
                lengths=batch.spec.text_sums == "lengths",
            )
            with emptied_is_told(table, rows, warehouse, ConnectionLostError):
                if batch.windows:
                    by_window = _by_window(table, what, len(batch.windows), warehouse)
                    sums = reduce(add, (each.sums for each in by_window))
                else:
                    by_window, sums = (), _sums(table, what, warehouse)
                _compare_values(table, extracted, sums, by_window, warehouse)
        except Exception:
            drop_quietly(warehouse, table)
            raise
        log_step(
            "copy %s: %s rows by %s", batch, f"{rows:,}", "COPY" if staged.manifest else "INSERT"
        )
        return Copied(table, rows, sums, by_window)


def _make(table: TableName, columns: Sequence[Column], warehouse: Warehouse) -> None:
    """Make the staging table, and its schema if that is what was missing."""
    kind = warehouse.capabilities.staging_table_kind
    statement = sql.create_table(table, columns, warehouse.native_type, kind=kind)
    try:
        warehouse.execute(statement)
    except SchemaError:
        make_schema(warehouse, OWN_SCHEMA)
        warehouse.execute(statement)


def _load(
    table: TableName, extracted: Extract, staged: Staged, stage: Stage, warehouse: Warehouse
) -> int:
    if staged.manifest:
        return warehouse.copy_in(table, staged, stage)
    return _insert(table, staged.layout.columns, list(read_rows(extracted)), warehouse)


def _insert(table: TableName, columns: Sequence[Column], rows: Rows, warehouse: Warehouse) -> int:
    try:
        return warehouse.execute(sql.insert_rows(table, columns, rows))
    except DataError as error:
        parts = (_refused_place(table, columns, rows, warehouse), error.found)
        error.found = ": ".join(str(part) for part in parts if part) or None
        raise


def _refused_place(
    table: TableName, columns: Sequence[Column], rows: Rows, warehouse: Warehouse
) -> str:
    """Which row and column the warehouse refuses, found by trying each alone; nothing stays."""

    def is_refused(some: Sequence[Column], values: Sequence[Any]) -> bool:
        try:
            with warehouse.transaction() as tx:
                tx.execute(sql.insert_rows(table, some, [values]))
                raise _TriedError
        except _TriedError:
            return False
        except DataError:
            return True

    with suppress(FerryError):  # such as a connection that is lost: what is known has to do
        for number, row in enumerate(rows, start=1):
            if is_refused(columns, row):
                for column, value in zip(columns, row, strict=True):
                    if is_refused((column,), (value,)):
                        return f"column {column.name}, row {number} of {len(rows)}"
    return ""


class _TriedError(Exception):
    """Rolls a transaction back that was only tried."""


def _sums(table: TableName, what: Sequence[Summed], warehouse: Warehouse) -> ValueSums:
    """The sums of the values that the warehouse has loaded, computed there.

    The table is this attempt's own: between two questions it stays as it is.
    """

    def of(some: Sequence[Summed]) -> ValueSums:
        (row,) = warehouse.fetch(select_sums(warehouse.fingerprints, table, some))
        return read_sums(some, row)

    return joined(map(of, in_slices(what)))


def _by_window(
    table: TableName, what: Sequence[Summed], windows: int, warehouse: Warehouse
) -> tuple[RowsAndSums, ...]:
    """The same of each window, computed there.

    Raises:
        CountMismatchError: Rows have come to be of none of them.
    """
    parts = [_slice_by_window(table, some, windows, warehouse) for some in in_slices(what)]
    return tuple(
        RowsAndSums(of_window[0].rows, joined(each.sums for each in of_window))
        for of_window in zip(*parts, strict=True)
    )


def _slice_by_window(
    table: TableName, what: Sequence[Summed], windows: int, warehouse: Warehouse
) -> list[RowsAndSums]:
    found = [RowsAndSums(0, no_sums(what))] * windows
    for window, rows, *sums in warehouse.fetch(
        select_sums_by(warehouse.fingerprints, table, what, WINDOW_NUMBER)
    ):
        if window is None or not 0 <= window < windows:
            raise CountMismatchError(
                "rows in the staging table are of none of the windows that were read",
                expected=f"{windows} windows",
                found=f"{int(rows):,} rows of another",
                todo="Run it again; the target is untouched.",
            )
        found[window] = RowsAndSums(int(rows), read_sums(what, sums))
    return found


def _compare_values(
    table: TableName,
    extracted: Extract,
    sums: ValueSums,
    by_window: Sequence[RowsAndSums],
    warehouse: Warehouse,
) -> None:
    differing = extracted.sums.differing(sums) if extracted.sums else []
    pairs = list(zip(extracted.by_window, by_window, strict=True)) if by_window else []
    for read, there in pairs:
        differing += [each for each in read.sums.differing(there.sums) if each not in differing]
    if not differing and any(read.rows != there.rows for read, there in pairs):
        differing = [WINDOW_NUMBER.name]
    if not differing:
        return
    if any(", " in name for name in differing):
        with suppress(Exception):  # which of several it is, is told if that can be found
            differing = _one_by_one(table, extracted, warehouse) or differing
    raise ValuesDifferError(
        "the values in the staging table are not those that were read",
        expected="the same values in each column",
        found="others in " + ", ".join(differing),
        todo=f"Run it again; the target is untouched. If it persists, {_LOOK_AT_FILES}, and at "
        "what the warehouse makes of that column's type.",
    )


def _one_by_one(table: TableName, extracted: Extract, warehouse: Warehouse) -> list[str]:
    """The columns that differ, each summed by itself: of the part files, which are as read."""
    columns = extracted.layout.columns
    digests_bytes = warehouse.capabilities.digests_bytes
    what = summed(extracted.layout.values, digests_bytes=digests_bytes, apart=True)
    read = BatchSums(columns, what)
    for batch in read_batches(extracted):
        read.add(batch)
    return read.sums.differing(_sums(table, what, warehouse))


def _compare_row_counts(staged: Staged, rows: int) -> None:
    if rows != staged.rows:
        raise CountMismatchError(
            "rows in the staging table are not the rows staged",
            expected=staged.rows,
            found=rows,
            todo=f"Run it again; the target is untouched. If it persists, {_LOOK_AT_FILES}.",
        )
