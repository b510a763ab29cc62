"""Record batches exactly as the rules of Ferry want them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ferry.errors import DataError
from ferry.schema import Column, TableName, arrow_schema


def conform(
    arrays: Sequence[pa.Array], columns: tuple[Column, ...], table: TableName, rows_before: int
) -> pa.RecordBatch:
    """The arrays as one batch of `arrow_schema(columns)`, every value unchanged.

    Args:
        arrays: One array for each column, in the columns' order.
        columns: The columns.
        table: The table, for messages.
        rows_before: How many rows came before these, for messages.

    Raises:
        DataError: A value that its column's type cannot hold unchanged. No retry helps.
    """
    schema = arrow_schema(columns)
    cast = []
    for array, column, field in zip(arrays, columns, schema, strict=True):
        try:
            cast.append(array if array.type == field.type else _cast(array, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            # Arrow's text tells the value, so only the error's name goes on.
            raise DataError(
                f"column {column.name!r} holds a value that its type cannot hold",
                table=str(table),
                step="extract",
                expected=f"{column.type} ({column.native})",
                found=f"another value in the {len(array)} rows after the first {rows_before}",
                todo="If the column was altered while it was read, run again; else correct it "
                "in the source.",
            ) from RuntimeError(type(error).__name__)
    return pa.RecordBatch.from_arrays(cast, schema=schema)


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The same values as this type.

    Raises:
        pa.ArrowInvalid, pa.ArrowNotImplementedError: Not all of them can be.
    """
    cast = array.cast(kind, safe=True)
    # Arrow takes these for safe, and rounds, leaves the time of day out, makes all but 0 true.
    lossy = pa.types.is_float32(kind) or pa.types.is_date32(kind) or pa.types.is_boolean(kind)
    if lossy and not cast.cast(array.type).equals(array):
        raise pa.ArrowInvalid("not the same any more")
    return cast
