"""How the staged files are written, as plan chooses it from spec, columns and warehouse."""

from __future__ import annotations

import pytest

from blocks.warehouses import DuckDBWarehouse, RedshiftWarehouse
from ferry.batch import StageFormat
from ferry.capabilities import Capabilities
from ferry.errors import ConfigurationError
from ferry.schema import Column, DataType, Kind
from ferry.specs.tables import TableSpec
from tasks.plan_batch import stage_format

ID, NOTE = Column("id", DataType(Kind.INT32)), Column("note", DataType(Kind.TEXT))
CSV, PARQUET = StageFormat.CSV, StageFormat.PARQUET
REDSHIFT, DUCKDB = RedshiftWarehouse.capabilities, DuckDBWarehouse.capabilities


def spec(format: StageFormat | None) -> TableSpec:
    return TableSpec.model_validate(
        {"name": "t", "source": "shop", "mode": "full", "stage_format": format}
    )


@pytest.mark.parametrize(
    ("capabilities", "wanted", "kind", "chosen"),
    [
        (REDSHIFT, PARQUET, Kind.JSON, CSV),
        (REDSHIFT, PARQUET, Kind.TIME, CSV),
        (REDSHIFT, PARQUET, Kind.DATE, PARQUET),
        (REDSHIFT, None, Kind.JSON, CSV),
        (DUCKDB, PARQUET, Kind.JSON, PARQUET),
        (DUCKDB, None, Kind.TIME, PARQUET),
        (DUCKDB, CSV, Kind.TIME, CSV),
    ],
)
def test_what_the_warehouse_does_not_read_from_parquet_is_staged_as_csv(
    capabilities: Capabilities, wanted: StageFormat | None, kind: Kind, chosen: StageFormat
) -> None:
    columns = (ID, Column("other", DataType(kind)))
    assert stage_format(spec(wanted), columns, capabilities) is chosen


def test_a_format_that_the_warehouse_does_not_load_is_refused() -> None:
    only_csv = Capabilities((CSV,), 20, None, 4, "postgres")
    with pytest.raises(ConfigurationError, match="does not load parquet files; expected csv"):
        stage_format(spec(PARQUET), (ID, NOTE), only_csv)
