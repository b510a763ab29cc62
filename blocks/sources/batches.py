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
            cast.append(array if array.type == field.type else array.cast(field.type, safe=True))
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
