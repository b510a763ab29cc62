"""Values that the warehouse cannot hold, or would change: refused while they are written.

So they are told by column, file and row on every route, before anything is staged; the answers to
an INSERT, and some of those to a COPY, tell no place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocks.stages.parts.json_values import first_changed, first_long_text
from ferry.batch import WINDOW_NUMBER, StageFormat
from ferry.capabilities import Capabilities
from ferry.errors import DataError
from ferry.schema import Column, Kind
from ferry.target.value_advice import (
    BECOMES_TEXT,
    CORRECT_LONG_JSON,
    EXCLUDE,
    NO_SUCH_TEXT,
    TOO_LONG,
    json_as_text,
)

Check = Callable[[pa.Array], "tuple[int, DataError] | None"]


class ValueChecks:
    """What the values of some columns are held against; nothing where there is nothing to check.

    Args:
        columns: The columns, in the batches' order. With `WINDOW_NUMBER` among them, an error tells
            the window, too.
        capabilities: What the warehouse can hold.
        format: The format of the files, of which one may tell less than the other.
    """

    def __init__(
        self, columns: tuple[Column, ...], capabilities: Capabilities, format: StageFormat
    ) -> None:
        self._checks = [
            (position, column, check)
            for position, column in enumerate(columns)
            for check in _checks(column, capabilities, format)
        ]
        self._window = columns.index(WINDOW_NUMBER) if WINDOW_NUMBER in columns else None

    def refuse(self, batch: pa.RecordBatch, file: str, rows_before: int) -> None:
        """Refuse the first value that does not fit, without telling it.

        Args:
            batch: The rows.
            file: The part file's name.
            rows_before: Rows that the file has already.

        Raises:
            DataError: With column, file and row.
        """
        for position, column, check in self._checks:
            refused = check(batch.column(position))
            if refused:
                row, error = refused
                error.found = f"column {column.name}, file {file}, row {rows_before + row + 1}"
                if self._window is not None:
                    error.window_number = batch.column(self._window)[row].as_py()
                raise error


def _checks(column: Column, capabilities: Capabilities, format: StageFormat) -> list[Check]:
    kind = column.type.kind
    checks: list[Check] = []
    if kind is Kind.JSON and capabilities.json_digits is not None:
        checks.append(_json(column, capabilities.json_digits, capabilities.max_text_bytes))
        if capabilities.max_text_bytes is not None:
            checks.append(_longer_in_json(capabilities.max_text_bytes))
    if kind is Kind.TEXT and not capabilities.nul_in_text:
        checks.append(_nul)
    if kind is Kind.BINARY and format is StageFormat.CSV and not capabilities.empty_binary_in_csv:
        checks.append(_empty(capabilities))
    limits = {Kind.TEXT: capabilities.max_text_bytes, Kind.BINARY: capabilities.max_binary_bytes}
    limit = limits.get(kind)
    if limit is not None and (column.type.max_bytes or limit) >= limit:
        checks.append(_longer_than(limit))
    return checks


def _json(column: Column, digits: int, longest: int | None) -> Check:
    def check(values: pa.Array) -> tuple[int, DataError] | None:
        changed = first_changed(values, digits)
        if changed is None:
            return None
        row, why = changed
        fits = longest is None or len(values[row].as_py().encode()) <= longest
        return row, DataError(
            f"the warehouse would change JSON: {why}",
            todo=json_as_text(column.name) if fits else CORRECT_LONG_JSON,
        )

    return check


def _nul(values: pa.Array) -> tuple[int, DataError] | None:
    _, offsets, data = values.buffers()
    if data is None or not len(values):
        return None
    bounds = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    content = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]
    if np.count_nonzero(content) == len(content):
        return None
    row = _first(pc.match_substring(values, "\0"))
    if row is None:  # what is behind a NULL
        return None
    return row, DataError(
        "a text has a NUL character, which the warehouse cannot hold", todo=NO_SUCH_TEXT
    )


def _empty(capabilities: Capabilities) -> Check:
    unread = " and ".join(sorted(capabilities.not_in_parquet))
    beside = (
        f", with `as_text` for each column of {unread}, which keeps it at CSV ({BECOMES_TEXT}),"
        if unread
        else ""
    )

    def check(values: pa.Array) -> tuple[int, DataError] | None:
        row = _first(pc.equal(pc.binary_length(values), 0))
        if row is None:
            return None
        return row, DataError(
            "a binary value is empty, which the warehouse would load from CSV as NULL",
            todo=f"Set `stage_format: parquet` for the table{beside} or {EXCLUDE}.",
        )

    return check


def _longer_than(limit: int) -> Check:
    def check(values: pa.Array) -> tuple[int, DataError] | None:
        row = _first(pc.greater(pc.binary_length(values), limit))
        if row is None:
            return None
        return row, DataError(
            "a value is longer than the warehouse can hold",
            expected=f"at most {limit:,} bytes",
            todo=TOO_LONG,
        )

    return check


def _longer_in_json(limit: int) -> Check:
    def check(values: pa.Array) -> tuple[int, DataError] | None:
        row = first_long_text(values, limit)
        if row is None:
            return None
        return row, DataError(
            "a text within JSON is longer than the warehouse can hold",
            expected=f"at most {limit:,} bytes",
            todo=TOO_LONG,
        )

    return check


def _first(marked: pa.Array) -> int | None:
    found = pc.index(marked, True).as_py()
    return None if found < 0 else int(found)
