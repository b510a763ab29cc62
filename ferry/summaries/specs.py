"""Summary specs: tables that people read, as written in `deployments/summaries/<name>/`.

`query.sql` says what is in the table, in Redshift's SQL; `query.<dialect>.sql` beside it says it
for an engine that needs its own. `summary.yaml` says the rest:

```yaml
schema: analytics
owner: data@example.org
description: Net promoter score by day.
publish: by_window
partition: {column: day, by: day}
grain: [day]
reads:
  raw_data.nps: {column: created_at, fixed: true}
columns:
  day: {type: date, description: The day on which the answer was given.}
  nps: {type: "decimal(5,2)", description: "Promoters less detractors, in percent."}
```
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from ferry.schema import NUMBERS, TIMES, Column, DataType, Kind, TableName
from ferry.specs.values import (
    DEFAULT_RETRIES,
    DEFAULT_RETRY_DELAY_SECONDS,
    Identifier,
    Retries,
    RetryDelaySeconds,
    TargetSchema,
    Zone,
)
from ferry.summaries.check_specs import Check
from ferry.summaries.partitions import PartitionBy
from ferry.summaries.query import WRITTEN_IN, Query

_TYPES = {
    "boolean": Kind.BOOLEAN,
    "smallint": Kind.INT16,
    "integer": Kind.INT32,
    "bigint": Kind.INT64,
    "real": Kind.FLOAT32,
    "double": Kind.FLOAT64,
    "date": Kind.DATE,
    "timestamp": Kind.TIMESTAMP,
    "timestamptz": Kind.TIMESTAMPTZ,
}
_DECIMAL = re.compile(r"decimal\((\d+), ?(\d+)\)")
_TEXT = re.compile(r"varchar\((\d+)\)")
_NUMBERS = (*NUMBERS, Kind.FLOAT32, Kind.FLOAT64)


def data_type(text: str) -> DataType:
    """The type of this name, as it is written in `summary.yaml`.

    Raises:
        ValueError: It is none.
    """
    if text in _TYPES:
        return DataType(_TYPES[text])
    if found := _DECIMAL.fullmatch(text):
        return DataType(Kind.DECIMAL, precision=int(found[1]), scale=int(found[2]))
    if found := _TEXT.fullmatch(text):
        return DataType(Kind.TEXT, max_bytes=int(found[1]))
    raise ValueError(f"a type is one of {', '.join(_TYPES)}, decimal(p,s) or varchar(bytes)")


def _type_name(text: str) -> str:
    data_type(text)
    return text


def _full_name(text: str) -> str:
    schema, _, name = text.partition(".")
    if not schema or not name or text != text.lower() or "." in name:
        raise ValueError("a table is read as schema.table, in lower case")
    return text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class SummaryColumn(_Part):
    """One column of a summary."""

    type: Annotated[str, AfterValidator(_type_name)] = Field(
        description="boolean, smallint, integer, bigint, decimal(p,s), real, double, date, "
        "timestamp, timestamptz, or varchar(bytes)."
    )
    description: str = Field(min_length=1, description="What it tells, and how it is counted.")


class Partition(_Part):
    """The parts in which a summary is replaced."""

    column: Identifier = Field(description="The summary's column that tells a row's partition.")
    by: PartitionBy = Field(description="day or month.")


class Read(_Part):
    """How a table that is read is tied to the summary's partitions."""

    column: Identifier | None = Field(
        default=None,
        description="The column whose day or month is the partition. Without it, and when it is "
        "not the cursor of the table, any change in the table rebuilds the summary whole.",
    )
    fixed: bool = Field(
        default=False,
        description="The column never changes in a row once it is written, like created_at. "
        "Otherwise a batch that updated or deleted rows rebuilds the summary whole: they may have "
        "left a partition that the batch does not tell.",
    )


class SummarySpec(_Part):
    """One summary: what is in it, who answers for it, how it is published and checked."""

    name: Identifier = Field(description="The summary's name: its folder's.")
    target_schema: TargetSchema = Field(
        default="analytics", alias="schema", description="The schema in the warehouse."
    )
    table: Identifier = Field(description="The table in the warehouse; by default, the name.")
    warehouse: str = Field(default="warehouse", description="Name of the warehouse block.")
    owner: str = Field(min_length=1, description="Who answers for its numbers.")
    description: str = Field(min_length=1, description="What it tells, for whom.")
    columns: dict[Identifier, SummaryColumn] = Field(
        min_length=1, description="Its columns, in their order; the query yields just these."
    )
    grain: tuple[str, ...] = Field(
        min_length=1,
        description="The columns that tell one row from another: checked to be unique and not "
        "NULL before publishing.",
    )
    reads: dict[Annotated[str, AfterValidator(_full_name)], Read | None] = Field(
        min_length=1,
        description="The tables that it reads, tables or other summaries, as schema.table; when "
        "one of them has changed, the summary is built again.",
    )
    publish: Literal["replace", "by_window"] = Field(
        description="replace: all of the table, in one transaction. by_window: only the "
        "partitions that a change has touched."
    )
    partition: Partition | None = Field(
        default=None, description="The parts in which it is replaced; needed for by_window."
    )
    zone: Zone = Field(
        default="UTC",
        description="Zone in which columns that are read and have a zone (TIMESTAMPTZ) are "
        "counted into partitions; others are counted as they are written.",
    )
    input_check: tuple[Check, ...] = Field(
        default=(), description="Checks on the tables that are read, before it is built."
    )
    output_check: tuple[Check, ...] = Field(
        default=(), description="Checks on what was built, before it is published."
    )
    retries: Retries = DEFAULT_RETRIES
    retry_delay_seconds: RetryDelaySeconds = DEFAULT_RETRY_DELAY_SECONDS
    queries: SkipJsonSchema[dict[str, Query]] = Field(default_factory=dict, exclude=True)
    """The queries, by the dialect that they are written in."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True
    )

    @model_validator(mode="before")
    @classmethod
    def _table_is_the_name(cls, data: Any) -> Any:
        return {"table": data["name"], **data} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _fits_together(self) -> SummarySpec:
        if self.publish == "by_window" and self.partition is None:
            raise ValueError("publish: by_window needs a partition")
        named = {"grain": self.grain}
        if self.partition:
            named["partition"] = (self.partition.column,)
        for field, names in named.items():
            for name in names:
                if name not in self.columns:
                    raise ValueError(f"{field} names {name!r}, which is not among the columns")
        if self.partition and self.kind(self.partition.column) not in TIMES:
            raise ValueError("the column of a partition is a date or a timestamp")
        if str(self.target) in self.reads:
            raise ValueError("a summary does not read itself")
        return self

    def kind(self, column: str) -> Kind:
        """The kind of value in a column."""
        return data_type(self.columns[column].type).kind

    @property
    def target(self) -> TableName:
        """The table in the warehouse."""
        return TableName(self.target_schema, self.table)

    @cached_property
    def schema_columns(self) -> tuple[Column, ...]:
        """The columns with their types."""
        return tuple(
            Column(name, data_type(column.type), nullable=name not in self.grain)
            for name, column in self.columns.items()
        )

    @property
    def measures(self) -> tuple[str, ...]:
        """The columns that are figures."""
        return tuple(
            name for name in self.columns if name not in self.grain and self.kind(name) in _NUMBERS
        )

    @property
    def time_column(self) -> str | None:
        """The column over which its figures are told: the partition's, else one of the grain."""
        if self.partition:
            return self.partition.column
        return next((name for name in self.grain if self.kind(name) in TIMES), None)

    @cached_property
    def definition(self) -> str:
        """SHA-256 of what decides its rows: another one makes all of them out of date."""
        parts = [f"{name} {column.type}" for name, column in self.columns.items()]
        parts += [self.zone, repr(self.partition)]
        parts += [f"{d}: {' '.join(q.source_text.words)}" for d, q in sorted(self.queries.items())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def query(self, dialect: str) -> Query:
        """The query for a warehouse of this dialect."""
        return self.queries.get(dialect) or self.queries[WRITTEN_IN]
