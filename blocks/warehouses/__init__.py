"""The warehouses: a folder per engine; `WAREHOUSES` is the one list of them."""

from __future__ import annotations

from blocks.warehouse import Warehouse
from blocks.warehouses.duckdb.warehouse import DuckDBWarehouse
from blocks.warehouses.postgres.warehouse import PostgresWarehouse
from blocks.warehouses.redshift.warehouse import RedshiftWarehouse

WAREHOUSES: tuple[type[Warehouse], ...] = (RedshiftWarehouse, PostgresWarehouse, DuckDBWarehouse)

DIALECTS = frozenset(each.capabilities.dialect for each in WAREHOUSES)
"""The SQL that they speak, as sqlglot names it."""

__all__ = ["DIALECTS", "WAREHOUSES", "DuckDBWarehouse", "PostgresWarehouse", "RedshiftWarehouse"]
