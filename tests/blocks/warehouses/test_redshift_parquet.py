"""Parquet that Redshift does not take: what it says of it, and what Ferry makes of that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployments.local.redshift_double import Fault, RedshiftDouble
from ferry.batch import StageFormat
from ferry.errors import AccessError, BusyError, SchemaError
from ferry.schema import Column, DataType, Kind

TWO = (Column("id", DataType(Kind.INT32)), Column("name", DataType(Kind.TEXT, max_bytes=40)))
MORE = Column("more", DataType(Kind.INT32))
SCAN = """
  -----------------------------------------------
  error:  Spectrum Scan Error
  code:      {}
  context:   {}
  query:     672099
  location:  dory_util.cpp:1450
  -----------------------------------------------"""
FILE = "File 'https://s3.eu-central-1.amazonaws.com/lake/stage/part-00000.parquet'"


@pytest.mark.parametrize(
    ("code", "context", "found"),
    [
        (15007, f"{FILE} has an incompatible Parquet s", "found error 15007."),
        (
            15007,
            f"{FILE} has an incompatible Parquet schema for column 's3://lake/stage/p.parquet.name'",
            "found column name, error 15007.",
        ),
        (
            15001,
            "column 'id' has an invalid type length. Expecting: 8 len in file: 13",
            "found column id, error 15001.",
        ),
        (15007, "Invalid value 's3cret' in column 's3cret'", "found error 15007."),
    ],
)
def test_parquet_that_does_not_fit_is_told_by_the_column_where_redshift_tells_it(
    redshift_engine: Any, redshift_double: RedshiftDouble, code: int, context: str, found: str
) -> None:
    table = redshift_engine.create(TWO)
    staged = redshift_engine.stage_rows(TWO, [(1, "a")], format=StageFormat.PARQUET)
    fault = Fault(
        "ddl_conflict",
        "^COPY",
        message="Spectrum Scan Error",
        detail=SCAN.format(code, context),
    )
    redshift_double.inject(fault)
    with pytest.raises(SchemaError, match=r"Parquet.*stage_format to csv") as caught:
        redshift_engine.warehouse.copy_in(table, staged, redshift_engine.stage)
    assert found in str(caught.value)
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__}"


def test_parquet_that_redshift_may_not_read_at_the_moment_is_no_misfit(
    redshift_engine: Any, redshift_double: RedshiftDouble
) -> None:
    table = redshift_engine.create(TWO)
    staged = redshift_engine.stage_rows(TWO, [(1, "a")], format=StageFormat.PARQUET)
    for context, kind in (
        (
            "Forbidden: HTTP response error code: 403 Message: AccessDenied Access Denied",
            AccessError,
        ),
        ("S3ServiceException:Reduce your rate,Status 503,Error SlowDown", BusyError),
    ):
        detail = SCAN.format(15001, context)
        redshift_double.inject(
            Fault("ddl_conflict", "^COPY", message="Spectrum Scan Error", detail=detail)
        )
        with pytest.raises(kind):
            redshift_engine.warehouse.copy_in(table, staged, redshift_engine.stage)


@pytest.mark.parametrize(
    ("declared", "found"), [("BIGINT", "15007"), ("INTEGER, more INT", "15007")]
)
def test_parquet_into_another_table_is_a_misfit(
    redshift_engine: Any, declared: str, found: str
) -> None:
    table = redshift_engine.table()
    redshift_engine.warehouse.execute(
        f'CREATE TABLE "{table.schema}"."t" (name VARCHAR(40), id {declared})'
    )
    staged = redshift_engine.stage_rows(TWO, [(1, "a")], format=StageFormat.PARQUET)
    if "more" in declared:  # the text's columns are the table's, and the file has one less
        staged = replace(staged, layout=replace(staged.layout, columns=(*TWO, MORE)))
    with pytest.raises(SchemaError, match=f"Parquet.*error {found}"):
        redshift_engine.warehouse.copy_in(table, staged, redshift_engine.stage)
