"""A journey over one of the routes that the flows are tested on, for the fixture `journey`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from blocks.source import Source
from blocks.stage import Stage
from blocks.warehouse import Warehouse
from blocks.warehouses.duckdb.files import opened
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, Receipt, from_row
from ferry.schema import TableName
from ferry.statements import PARAM, Statement, column_list, table_sql
from tests.harness.saved_blocks import kept_here, save

RunSource = Callable[[str, Sequence[Sequence[object]]], None]
"""Runs a statement in a source, once for each row of parameters, marked by `?`."""


@dataclass
class Journey:
    """Three blocks, a schema of the test's own, and a file of table specs."""

    source: Source
    stage: Stage
    warehouse: Warehouse
    run_source: RunSource
    specs_file: Path
    known_to_the_server: bool = True
    schema: str = field(default_factory=lambda: f"t_{uuid.uuid4().hex[:10]}")
    name: str = field(default_factory=lambda: f"b-{uuid.uuid4().hex[:10]}")

    def __post_init__(self) -> None:
        if self.known_to_the_server:
            for block in (self.source, self.stage, self.warehouse):
                save(block, self.name)
        self._staging_before = self._staging_tables()

    @contextmanager
    def of_this_process(self) -> Iterator[None]:
        """Do without the server's blocks, and without opening DuckDB's file for each statement.

        With Prefect's pages they were half of a short run (decision 0006). Other processes know
        nothing of the one, and cannot have the other.
        """
        path = getattr(self.warehouse, "path", None)
        with (
            kept_here(self.name, self.source, self.stage, self.warehouse),
            opened(path.resolve()) if path else nullcontext(),
        ):
            yield

    def write_specs(self, **tables: dict[str, Any]) -> None:
        """Let these be the table specs, retries without a wait."""
        content = {
            "defaults": {
                "source": self.name,
                "stage": self.name,
                "warehouse": self.name,
                "schema": self.schema,
                "retry_delay_seconds": 0,
            },
            "tables": tables,
        }
        self.specs_file.write_text(yaml.safe_dump(content))

    def specs(self) -> dict[str, Any]:
        """The table specs as they were written."""
        tables: dict[str, Any] = yaml.safe_load(self.specs_file.read_text())["tables"]
        return tables

    def sql(self, statement: str, rows: Sequence[Sequence[object]] = ((),)) -> None:
        """Run a statement in the source, once for each row of parameters, marked by `?`."""
        self.run_source(statement, rows)

    def target(self, table: str, columns: str = "*", order: str = "id") -> list[tuple[Any, ...]]:
        """The rows of a target table."""
        return self.warehouse.fetch(
            f'SELECT {columns} FROM "{self.schema}"."{table}" ORDER BY {order}'
        )

    def receipts(self, table: str) -> list[Receipt]:
        """The receipts of a table, in the order in which they were written."""
        if self.warehouse.describe(RECEIPTS) is None:  # no run has landed anything yet
            return []
        names = column_list(column.name for column in RECEIPT_COLUMNS)
        select = Statement(
            f"SELECT {names} FROM ferry.receipts WHERE table_name = {PARAM} ORDER BY finished_at",
            (f"{self.schema}.{table}",),
        )
        return [from_row(row) for row in self.warehouse.fetch(select)]

    def has_landed(self, table: str) -> bool:
        """Whether a batch of the table has ever landed: its target is there, or a receipt."""
        there = self.warehouse.describe(TableName(self.schema, table)) is not None
        return there or bool(self.receipts(table))

    def undeclare_key(self, table: str) -> None:
        """Drop the primary key that a target declares on Redshift, as its owner is told to."""
        target = TableName(self.schema, table)
        if declared := self.warehouse.declared_key(target):
            drop = f'ALTER TABLE {table_sql(target)} DROP CONSTRAINT "{declared.name}"'
            self.warehouse.execute(drop)

    def leftovers(self) -> set[str]:
        """Staging tables that this journey left in the warehouse."""
        return self._staging_tables() - self._staging_before

    def _staging_tables(self) -> set[str]:
        return {name for name in self.warehouse.tables_in("ferry") if name.startswith("stg")}
