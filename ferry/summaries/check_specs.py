"""Checks of a summary, as written in `summary.yaml`.

```yaml
input_check:                      # before the summary is built, over the tables it reads
  - sql: SELECT COUNT(1) FROM raw_data.nps
    count: 1                      # at least that many
  - bounds: score                 # no value outside; NULL is outside of nothing
    table: raw_data.nps
    min: 0
    max: 10
output_check:                     # after it is built, before anybody sees it
  - sql: SELECT COUNT(1) FROM analytics.nps_summary
    equals: SELECT COUNT(DISTINCT created_at::DATE) FROM raw_data.nps
  - not_null: [nps]
  - unique: [day]
  - change: responses             # or rows
    max_percent: 20
    severity: warn                # by default fail
```
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime
from itertools import pairwise
from math import isnan
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from ferry.specs.values import no_boolean


def _as_written(value: Any) -> Any:
    """A text with a time is that moment, and not, at midnight, all of its day."""
    if isinstance(value, str) and ":" in value:
        with suppress(ValueError):  # the field's own words are better
            return datetime.fromisoformat(value)
    return no_boolean(value)


Number = Annotated[int | float, BeforeValidator(no_boolean)]
Limit = Annotated[int | float | date | datetime | None, BeforeValidator(_as_written)]
Severity = Literal["fail", "warn"]
Direction = Literal["both", "up", "down"]

GRAIN_NOT_NULL = "the grain has no NULL"
GRAIN_UNIQUE = "one row for each of the grain"
IN_WINDOW = "no row outside of the window"
IN_PARTITION = "no row without its partition"
BUILT_IN = (GRAIN_NOT_NULL, GRAIN_UNIQUE, IN_WINDOW, IN_PARTITION)
"""What the checks are called that are made without being written: nobody lets them pass."""

_TABLE = Field(
    default=None,
    description="input_check: which of the tables that the summary reads; of one that is tied to "
    "its partitions, the rows of those that are built, and those with NULL in the column that ties "
    "it if `not_null` names that.",
)


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(default=None, description="What messages call it.")
    severity: Severity = Field(
        default="fail",
        description="fail: the published table stays as it was and the run fails. warn: it is "
        "told, and published.",
    )

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or self._called()

    def _called(self) -> str:
        raise NotImplementedError


class SqlCheck(_Check):
    """The first value of a query is at least, at most, or just some number."""

    sql: str = Field(
        description="One SELECT, in Redshift's SQL, whose first value is a number. In an "
        "output_check the summary's name means the table as it is about to be. It can have "
        ":window_start and :window_end."
    )
    count: int | None = Field(default=None, description="At least that many.")
    equals: Number | str | None = Field(
        default=None, description="Just this number, or the first value of this SELECT."
    )
    min: Number | None = Field(
        default=None, description="The least it may be; beside a count, both hold."
    )
    max: Number | None = Field(default=None, description="The most it may be.")

    @model_validator(mode="after")
    def _expects_something(self) -> SqlCheck:
        if self.count is self.equals is self.min is self.max is None:
            raise ValueError("an sql check needs a count, equals, min or max")
        equals = None if isinstance(self.equals, str) else self.equals
        _refuse_crossed(self.least, equals, self.max)
        return self

    @property
    def least(self) -> Number | None:
        """What the value is at least: the greater of `count` and `min`, since both are to hold."""
        return max((each for each in (self.count, self.min) if each is not None), default=None)

    @property
    def texts(self) -> list[str]:
        """Its queries."""
        return [self.sql, self.equals] if isinstance(self.equals, str) else [self.sql]

    def _called(self) -> str:
        return " ".join(self.sql.split())[:80]


class NotNullCheck(_Check):
    """Columns that have a value in every row."""

    not_null: tuple[str, ...] = Field(min_length=1, description="Columns without any NULL.")
    table: str | None = _TABLE

    def _called(self) -> str:
        return f"not_null {', '.join(self.not_null)}"


class UniqueCheck(_Check):
    """Columns whose values occur together in one row only."""

    unique: tuple[str, ...] = Field(
        min_length=1, description="Columns whose values, taken together, occur once."
    )
    table: str | None = _TABLE

    def _called(self) -> str:
        return f"unique {', '.join(self.unique)}"


class BoundsCheck(_Check):
    """A column whose values lie within bounds, both included; NULL is outside of nothing."""

    bounds: str = Field(description="A column whose values lie within min and max.")
    min: Limit = Field(default=None, description="The lowest value allowed.")
    max: Limit = Field(
        default=None, description="The highest value allowed; of a time, a day is all of that day."
    )
    table: str | None = _TABLE

    @model_validator(mode="after")
    def _has_a_bound(self) -> BoundsCheck:
        if self.min is None and self.max is None:
            raise ValueError("a bounds check needs a min or a max")
        _refuse_crossed(self.min, self.max)
        return self

    def _called(self) -> str:
        return f"bounds {self.bounds}"


class ChangeCheck(_Check):
    """No published value of the partition column moves by more than so many percent."""

    change: str = Field(
        description="`rows`, or a measure: compared, value by value of the partition column, with "
        "what is published now. A value that is not published yet is not compared."
    )
    max_percent: Annotated[float, BeforeValidator(no_boolean)] = Field(
        gt=0, description="The furthest that it may move, in percent."
    )
    direction: Direction = Field(default="both", description="Which way: both, up or down.")
    aggregate: Literal["sum", "avg", "min", "max"] = Field(
        default="sum", description="What is taken of a measure, where a value has many rows."
    )

    def _called(self) -> str:
        return f"change {self.change}"


def _refuse_crossed(*rising: Number | date | None) -> None:
    """Refuse limits that no value keeps: each is to be no greater than those after it."""
    limits = [each for each in rising if each is not None]
    if any(isinstance(each, float) and isnan(each) for each in limits):
        raise ValueError("no value is at least, at most or just .nan")
    for lower, upper in pairwise(limits):
        if isinstance(lower, date) is not isinstance(upper, date):
            raise ValueError("min and max are both dates, or both numbers")
        try:
            crossed = lower > upper  # type: ignore[operator]
        except TypeError:  # a day and a moment, or one with an offset: the warehouse compares them
            continue
        if crossed:
            raise ValueError(f"no value is both at least {lower} and at most {upper}")


_KINDS = {"sql", "not_null", "unique", "bounds", "change"}


def _kind(data: Any) -> str | None:
    given = data if isinstance(data, dict) else vars(data) if isinstance(data, _Check) else {}
    kinds = [key for key in given if key in _KINDS]
    return kinds[0] if kinds else None


Check = Annotated[
    Annotated[SqlCheck, Tag("sql")]
    | Annotated[NotNullCheck, Tag("not_null")]
    | Annotated[UniqueCheck, Tag("unique")]
    | Annotated[BoundsCheck, Tag("bounds")]
    | Annotated[ChangeCheck, Tag("change")],
    Discriminator(
        _kind,
        custom_error_type="check_kind",
        custom_error_message="a check is one of sql, not_null, unique, bounds or change",
    ),
]


def told_apart(checks: Iterable[Check]) -> list[Check]:
    """The checks, each called otherwise than the others and than those that nobody writes.

    Of a label that was there before, the second one is numbered, and so is one that another check
    has as its written name: whoever lets a check pass by its label has to mean that one alone.
    """
    taken, found, every = set(BUILT_IN), list[Check](), list(checks)
    written = {check.name for check in every if check.name}
    for check in every:
        label, number = check.label, 2
        while label in taken or (label in written and label != check.name):
            label, number = f"{check.label} ({number})", number + 1
        taken.add(label)
        found.append(check if label == check.label else check.model_copy(update={"name": label}))
    return found
