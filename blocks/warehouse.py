"""What a warehouse can do. One folder per engine stands in `blocks/warehouses/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from datetime import date
from typing import Any, ClassVar

from blocks.named import NamedBlock
from blocks.stage import Stage
from ferry import statements as sql
from ferry.batch import Staged
from ferry.capabilities import Capabilities
from ferry.fingerprints.dialect import SumDialect
from ferry.schema import DataType, TableName, TableSchema
from ferry.statements import Statement, Transaction
from ferry.target.declared_key import DeclaredKey
from ferry.target.retype import HeldColumns, View


class Warehouse(NamedBlock, ABC):
    """A database that tables are loaded into.

    A block is a plain value, shared by threads: what it has open between calls, the process keeps
    (`blocks.pool`).

    Statements are written once for all engines, in `ferry/`; they look at `capabilities` and
    `native_type`, never at an engine's name. Each engine binds their values in its driver's way; a
    plain `str` is text without any.
    """

    capabilities: ClassVar[Capabilities]
    fingerprints: ClassVar[SumDialect]

    @abstractmethod
    def native_type(self, data_type: DataType) -> str:
        """How this engine declares the type.

        Raises:
            SchemaError: It has no type that holds such values unchanged.
        """

    @abstractmethod
    def describe(self, table: TableName, tx: Transaction | None = None) -> TableSchema | None:
        """The table's columns and types from the catalog, or None if there is no such table.

        Args:
            table: The table.
            tx: Where to ask. Whoever holds a lock asks within his own transaction: the catalog may
                wait for a lock that another session holds.
        """

    def ignores_case(self) -> bool:
        """Whether texts that differ in their case alone are equal, as the database is set up."""
        return bool(self.fetch("SELECT CASE WHEN 'a' = 'A' THEN 1 ELSE 0 END")[0][0])

    def bound_views(
        self,
        table: TableName,  # noqa: ARG002
        column: str | None = None,  # noqa: ARG002
    ) -> tuple[View, ...]:
        """The views that a column's type cannot be changed under, in the order to drop them.

        Of no column, all that are bound to the table. Empty where views are looked up anew whenever
        they are read.
        """
        return ()

    def held_columns(self, table: TableName) -> HeldColumns:  # noqa: ARG002
        """Columns whose type cannot be changed at all, each with what it is a part of."""
        return HeldColumns()

    def side_effects(
        self,
        table: TableName,  # noqa: ARG002
        tx: Transaction | None = None,  # noqa: ARG002
    ) -> tuple[str, ...]:
        """What of a table makes its DELETE keep or hide rows, or change others, a sentence each.

        Whoever holds a lock asks within his own transaction.
        """
        return ()

    def refuse_stage(self, stage: Stage) -> None:
        """Refuse a stage that the warehouse cannot load from, before anything is read.

        A warehouse that is sent the files takes any.

        Raises:
            ConfigurationError: Another stage, or another setting of it, is needed.
        """

    def declared_key(self, table: TableName) -> DeclaredKey | None:  # noqa: ARG002
        """The primary key that a table declares, where the engine trusts it without enforcing it.

        None where there is no such key, and where the engine enforces keys.
        """
        return None

    @abstractmethod
    def filled_columns(self, table: TableName) -> set[str]:
        """Columns that the warehouse itself fills in a new row: by a default, or generated."""

    @abstractmethod
    def has_schema(self, schema: str) -> bool:
        """Whether there is a schema of this name."""

    def create_schema(self, schema: str) -> None:
        """Make the schema if it is missing."""
        self.execute(sql.create_schema(schema))

    @abstractmethod
    def tables_in(self, schema: str) -> list[str]:
        """Names of the tables in a schema; none where there is no such schema."""

    def indexes_in(self, schema: str) -> list[tuple[str, str]]:  # noqa: ARG002
        """Table and name of every index in a schema; none where the engine has no indexes."""
        return []

    def today(self) -> date:
        """The day by the warehouse's own clock, whichever machine asks."""
        day: date = self.fetch(sql.today())[0][0]
        return day

    @abstractmethod
    def copy_in(self, staging_table: TableName, staged: Staged, stage: Stage) -> int:
        """Load the staged files into an existing, empty table; returns the rows loaded.

        The table's columns are `staged.layout.columns`, in their order. All or nothing.

        Raises:
            DataError: A value that does not fit, with file, line and column, without the value.
            AccessError: The warehouse may not read the stage.
            ConnectionLostError, BusyError: A retry may help (after the table is made again).
        """

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction: committed at the end of the block, rolled back when it raises.

        Raises:
            ConflictError: A serialization conflict; repeat the whole transaction.
            OutcomeUnknownError: The connection was lost while COMMIT was under way.
        """

    def execute(self, statement: Statement | str) -> int:
        """Run one statement by itself; returns the rows it touched."""
        with self.transaction() as tx:
            return tx.execute(statement)

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        """The rows of one query. Times with a zone are aware."""
        with self.transaction() as tx:
            return tx.fetch(statement)
