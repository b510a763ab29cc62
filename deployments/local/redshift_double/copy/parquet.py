"""COPY of Parquet: columns by position, types that must fit, texts that PostgreSQL reads fast."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from deployments.local.redshift_double.copy.target import Target, TargetColumn
from deployments.local.redshift_double.errors import Refusal

_BATCH_ROWS = 32768
_SPOOL_BYTES = 32 << 20
_FITS: dict[str, tuple[Any, ...]] = {
    "bigint": (pa.types.is_int64, pa.types.is_uint32),
    "integer": (pa.types.is_int32, pa.types.is_int16, pa.types.is_int8, pa.types.is_uint16,
                pa.types.is_uint8),
    "smallint": (pa.types.is_int32, pa.types.is_int16, pa.types.is_int8, pa.types.is_uint8),
    "boolean": (pa.types.is_boolean,),
    "real": (pa.types.is_float32,),
    "double precision": (pa.types.is_float64,),
    "numeric": (pa.types.is_decimal,),
    "date": (pa.types.is_date32,),
    "timestamp without time zone": (pa.types.is_timestamp,),
    "timestamp with time zone": (pa.types.is_timestamp,),
    "character varying": (pa.types.is_string, pa.types.is_large_string),
    "character": (pa.types.is_string, pa.types.is_large_string),
    "bytea": (pa.types.is_binary, pa.types.is_large_binary),
    "jsonb": (pa.types.is_nested, pa.types.is_string, pa.types.is_large_string),
}  # fmt: skip


def spool(stream: IO[bytes]) -> IO[bytes]:
    """Returns a seekable copy of an object, on disk if it is long."""
    copy = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - the caller closes it
    while piece := stream.read(1 << 20):
        copy.write(piece)
    copy.seek(0)
    return copy


def opened(file: IO[bytes]) -> pq.ParquetFile:
    """Returns the file; of INT96, times of any year."""
    return pq.ParquetFile(file, coerce_int96_timestamp_unit="us")


def check_schema(schema: pa.Schema, target: Target, uri: str) -> None:
    """Holds a file's columns against the target's, by position.

    Raises:
        Refusal: Another number of columns, or types that do not fit.
    """
    if len(schema) != len(target.columns):
        raise _scan_error(
            15007,
            "Unmatched number of columns between table and file. "
            f"Table columns: {len(target.columns)}, Data columns: {len(schema)}, File name: {uri}",
        )
    for field, column in zip(schema, target.columns, strict=True):
        if column.kind.startswith("time ") or pa.types.is_time(field.type):
            raise Refusal("COPY of Parquet does not support the TIME data type")
        if pa.types.is_decimal(field.type) and column.kind == "numeric":
            if field.type.scale != column.scale:
                raise _scan_error(
                    15001,
                    f"File '{_url(uri)}' column '{column.name}' has an invalid type length. "
                    f"Expecting: {_decimal_bytes(column.size)} len in file: "
                    f"{_decimal_bytes(field.type.precision)}",
                )
        elif not _fits(field.type, column):
            raise _scan_error(15007, f"File '{_url(uri)}' has an incompatible Parquet s")


def _scan_error(code: int, context: str) -> Refusal:
    """Returns the error as Redshift words it: what it is about stands in DETAIL alone, cut short.

    https://github.com/aws/amazon-redshift-python-driver/issues/107
    """
    line = "-----------------------------------------------"
    detail = (
        f"\n  {line}\n  error:  Spectrum Scan Error\n  code:      {code}\n  context:   {context}\n"
        f"  query:     672099\n  location:  dory_util.cpp:1450\n  {line}"
    )
    return Refusal("Spectrum Scan Error", "XX000", detail)


def _url(uri: str) -> str:
    return uri.replace("s3://", "https://s3.eu-central-1.amazonaws.com/", 1)


def _decimal_bytes(digits: int) -> int:
    return (int("9" * digits).bit_length() + 8) // 8


def _fits(kind: pa.DataType, column: TargetColumn) -> bool:
    return any(test(kind) for test in _FITS.get(column.kind, ()))


def csv_chunks(parquet: pq.ParquetFile) -> Iterator[bytes]:
    """Yields a Parquet file as CSV in which quotes tell an empty text from NULL."""
    for batch in parquet.iter_batches(_BATCH_ROWS):
        columns = [_as_text(column) for column in batch.columns]
        names = [f"f{i}" for i in range(len(columns))]
        sink = io.BytesIO()
        options = pa_csv.WriteOptions(include_header=False, quoting_style="needed")
        pa_csv.write_csv(pa.RecordBatch.from_arrays(columns, names=names), sink, options)
        yield sink.getvalue()


def _as_text(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        texts = [None if v is None else "\\x" + v.hex() for v in column.to_pylist()]
        return pa.array(texts, pa.string())
    if pa.types.is_timestamp(kind):
        # A time in nanoseconds has no ConvertedType, which is all that Spectrum looks at.
        # https://github.com/apache/arrow/issues/38000
        read_as = "us" if kind.unit == "ns" else kind.unit
        return pc.cast(column.view(pa.timestamp(read_as)), pa.timestamp("us"))
    if pa.types.is_nested(kind):
        texts = [None if v is None else json.dumps(v, default=str) for v in column.to_pylist()]
        return pa.array(texts, pa.string())
    return column
