"""Rows as record batches, for tests of part files."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ferry.batch import StageFormat
from ferry.schema import Column, DataType, Kind, arrow_schema

MARKER = "~null-0123456789ab~"
FORMATS = list(StageFormat)


def column(name: str, kind: Kind, **size: int) -> Column:
    return Column(name, DataType(kind, **size))


def batch_of(rows: list[tuple[Any, ...]], columns: tuple[Column, ...]) -> pa.RecordBatch:
    schema = arrow_schema(columns)
    arrays = [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(schema)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def words(values: list[str | None]) -> tuple[tuple[Column, ...], pa.RecordBatch]:
    columns = (column("words", Kind.TEXT),)
    return columns, batch_of([(value,) for value in values], columns)
