"""Table specs: how one table is carried, and where to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from ferry.batch import StageFormat
from ferry.schema import TableName
from ferry.specs.due_time import DueTime
from ferry.specs.rules import contradictions
from ferry.specs.source_names import parse_source_name
from ferry.specs.values import (
    DEFAULT_RETRIES,
    DEFAULT_RETRY_DELAY_SECONDS,
    MOST_SETTLE_SECONDS,
    ColumnsOnce,
    Identifier,
    Marking,
    ReadRanges,
    Retries,
    RetryDelaySeconds,
    SourceName,
    TargetSchema,
    ZeroDates,
    Zone,
    no_boolean,
)
from ferry.specs.written_day import WrittenDay

Mode = Literal["full", "window", "watermark"]

HOURLY_SETTLE_SECONDS = 300
"""The hourly schedule starts five minutes after the hour."""

CHANGE_TIMES = (
    "modified", "updated_at", "modified_at", "updated", "last_modified", "last_updated",
    "last_modified_at", "last_updated_at", "update_time", "updated_time", "modify_time",
    "modified_time", "modification_time", "updated_on", "modified_on", "update_date",
    "updated_date", "modified_date", "date_updated", "date_modified", "changed_at", "changed",
    "last_changed", "last_update", "mtime",
)  # fmt: skip
"""Usual names of the column that tells when a row changed, the preferred ones first."""

CREATION_TIME = "created_at"
"""The cursor where no column tells when a row changed."""


class TableSpec(BaseModel):
    """How one table is carried."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: Identifier = Field(description="The table's name in the warehouse.")
    source: str = Field(description="Name of the source block to read from.")
    source_table: SourceName = Field(
        description="The table in the source, `table` or `database.table`; by default, its name. A "
        'name with a dot in it stands in backticks, within quotes for YAML: "`app.users`".'
    )
    stage: str = Field(default="lake", description="Name of the stage block.")
    warehouse: str = Field(default="warehouse", description="Name of the warehouse block.")
    target_schema: TargetSchema = Field(
        default="raw_data", alias="schema", description="The schema in the warehouse."
    )
    mode: Mode = Field(
        description="full: all of it, replacing the target. window: rows whose cursor is in the "
        "run's window. watermark: rows at or after the highest cursor read so far, less the lag."
    )
    key: ColumnsOnce = Field(
        default=(), description="Columns that identify a row; needed for window."
    )
    cursor: str | None = Field(
        default=None,
        description="Column that tells when a row changed (or its growing id, for watermark); by "
        f"default the one with a usual name ({', '.join(CHANGE_TIMES)}; also `updatedAt`), else "
        f"`{CREATION_TIME}`. Has to be named where several columns may be meant.",
    )
    version: str | None = Field(
        default=None,
        description="Column that tells which version of a row is newer, where it is not the "
        "cursor: a window over `created_at` whose rows change, told by `modified`.",
    )
    zone: Zone = Field(
        default="UTC",
        description="Zone in which days are counted, such as Europe/Berlin.",
    )
    source_zone: Zone | None = Field(
        default=None,
        description="Zone of the source's wall-clock columns (DATETIME); by default, `zone`.",
    )
    every: Literal["hour", "day", "never"] = Field(
        default="day",
        description="How often sync-all carries it: day or hour; never: only when it is named.",
    )
    due: DueTime | None = Field(
        default=None,
        description='The time in `zone`, such as "09:30", by which it has to be loaded. window: '
        "the whole day before; full, watermark: a run in that mode since the day began; a backfill "
        "does not count. If it is not, one message says so, and one when it has arrived after all.",
    )
    start_date: WrittenDay | None = Field(
        default=None,
        description="The first day that the source has: no backfill and no run that carries dates "
        "begins earlier, and the coverage begins here. `reconcile` compares earlier days, too.",
    )
    catch_up: bool = Field(
        default=False,
        description="window: let sync-all carry the days since `start_date` that are missing, too.",
    )
    cursor_unit: Literal["s", "ms", "us"] | None = Field(
        default=None,
        description="The cursor is a whole number that counts Unix time in this unit: seconds, "
        "milliseconds or microseconds since 1970-01-01 UTC. 0 is no time, as NULL is none.",
    )
    cursor_jumps: Literal["error", "allow"] = Field(
        default="error",
        description="watermark over whole numbers: a highest id out of all proportion to those "
        "before it, which would hide every id that comes below it: refuse, or allow.",
    )
    settle: int | None = Field(
        default=None,
        ge=0,
        le=MOST_SETTLE_SECONDS,
        description="window: a window is complete so many seconds after its end, by the source's "
        "clock, for transactions that commit late; by default 300 for `every: hour`, else 0.",
    )
    lookback: int = Field(
        default=0,
        ge=0,
        le=315_360_000,
        description="window: each scheduled run carries again what is up to so many seconds "
        "before its own window, in one read with it; of a cursor without a time, whole days.",
    )
    lag: int = Field(
        default=0,
        ge=0,
        description="watermark: read again this far before the highest cursor, in seconds (or in "
        "ids), for transactions that commit late.",
    )
    soft_deletes: Literal["carry", "apply"] = Field(
        default="carry",
        description="Rows marked as deleted: carry them over as they are, or apply the deletion.",
    )
    deleted_column: str = Field(
        default="deleted",
        description="The column that marks a deleted row: not NULL, not false and not 0.",
    )
    deleted_values: tuple[Marking, ...] = Field(
        default=(),
        description="The values of `deleted_column` that mark a deleted row, such as [Y]; by "
        "default any but NULL, false and 0. Upper and lower case and blanks count.",
    )
    hard_deletes: Literal["report", "mark", "delete"] = Field(
        default="report",
        description="What `reconcile` with repair=all does with rows of the target that the source "
        "has no more: only report them, mark them in `deleted_column`, or delete them. In mode "
        "full any repair copies the whole table, which takes them out.",
    )
    max_delete_percent: int = Field(
        default=5,
        ge=0,
        le=100,
        description="`reconcile` refuses to mark or delete more of the target's rows than this; "
        "below 100 it leaves a day of which the source shows no row.",
    )
    text_sums: Literal["digests", "lengths"] = Field(
        default="digests",
        description="How text and binary are proven between reading and the staging table: by "
        "digests of their values, or, which costs less, by their lengths alone.",
    )
    show_keys: bool = Field(
        default=False,
        description="Let `reconcile` show the keys of rows that differ on its page: keys can be "
        "personal.",
    )
    audit_days: int = Field(
        default=0,
        ge=0,
        le=366,
        description="window: sync-all compares so many days, up to the end of its own window, with "
        "the source, and repairs what came late, went away or was altered, as `reconcile` with "
        "repair=all does; 0 does not.",
    )
    on_repeated_key: Literal["error", "newest"] = Field(
        default="error",
        description="A key that is only a part of the source's primary key, or rows of one key "
        "that differ and of which none is newer: refuse, or let one of them win.",
    )
    allow_empty: bool = Field(
        default=False,
        description="Let a full copy of no rows empty a target that has some.",
    )
    max_shrink_percent: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Refuse what would shrink the target by more than this, a full copy or a "
        "watermark without a key; by default no such limit. A copy of no rows is `allow_empty`'s.",
    )
    exclude: tuple[str, ...] = Field(default=(), description="Columns that are not carried.")
    as_text: tuple[str, ...] = Field(
        default=(),
        description="Columns that become text in the warehouse, exactly as the source writes them: "
        "JSON, times of day, or decimals of more digits than the warehouse has.",
    )
    target_only: tuple[str, ...] = Field(
        default=(),
        description="Columns of the target that the source has not; a row that is written anew, "
        "as when it has changed, gets NULL there. So a full copy, which writes every row, is "
        "refused while such a column holds a value. Any other such column is refused always.",
    )
    zero_dates: ZeroDates = Field(
        default="error",
        json_schema_extra={"type": ["string", "null"], "enum": ["error", "null", None]},
        description="MySQL's 0000-00-00 and dates like it: refuse them, or load NULL.",
    )
    null_cursors: Literal["error", "ignore"] = Field(
        default="error",
        description="Rows whose cursor is NULL, a zero date, no date at all or beyond all windows, "
        "which are never carried: refuse, or leave behind.",
    )
    sort_key: tuple[str, ...] = Field(
        default=(), description="Sort key of the target, when it is created."
    )
    dist_key: str | None = Field(
        default=None, description="Distribution key of the target, when it is created."
    )
    stage_format: StageFormat | None = Field(
        default=None,
        description="csv or parquet; by default what the warehouse prefers. A table with a column "
        "that the warehouse does not read from Parquet is staged as CSV.",
    )
    part_size_mb: int = Field(
        default=128, ge=1, le=1000, description="Aim for staged files of this many compressed MB."
    )
    batch_rows: int = Field(
        default=2_000_000,
        ge=0,
        description="Neighbouring windows of a backfill travel together, in one read, one COPY and "
        "one transaction, up to about this many rows, by the source's guess and what was read so "
        "far; 0: each window by itself.",
    )
    read_ranges: ReadRanges = Field(
        default=1,
        description="Read it by so many connections at once, each a range of its key, as far as "
        "there are places among the source's readers; auto: one for each 5 million rows, up to 4.",
    )
    resume_rows: int = Field(
        default=1_000_000,
        ge=0,
        description="A full copy of twice as many rows or more is staged in pieces of about so "
        "many, 200 at most; the same run, retried, reads only those that are missing; 0: it begins "
        "anew.",
    )
    insert_rows: int = Field(
        default=50, ge=0, le=1000, description="Up to this many rows go in by INSERT, not COPY."
    )
    keep_staged_days: int = Field(
        default=0, ge=0, description="Keep the staged files this many days; 0 discards them."
    )
    retries: Retries = DEFAULT_RETRIES
    retry_delay_seconds: RetryDelaySeconds = DEFAULT_RETRY_DELAY_SECONDS

    @model_validator(mode="before")
    @classmethod
    def _source_table_is_the_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "name" in data:
            return {"source_table": data["name"], **data}
        return data

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        of_numbers = cls.model_fields[str(info.field_name)].annotation in (int, int | None)
        return no_boolean(value) if of_numbers else value

    @model_validator(mode="after")
    def _fields_go_together(self) -> TableSpec:
        found = [
            InitErrorDetails(
                type=PydanticCustomError("contradiction", "{problem}", {"problem": problem}),
                loc=(field,) if field else (),
                input=None,
            )
            for field, problem in contradictions(self)
        ]
        if found:
            raise ValidationError.from_exception_data("TableSpec", found)
        return self

    @property
    def settle_seconds(self) -> int:
        """How long after its end, by the source's clock, a window is complete."""
        if self.settle is not None:
            return self.settle
        return HOURLY_SETTLE_SECONDS if self.every == "hour" else 0

    @property
    def as_planned(self) -> dict[str, Any]:
        """All of it as JSON, for runs that are to carry what was planned with it."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def wall_clock_zone(self) -> str:
        """The zone in which the source writes columns that have none of their own."""
        return self.source_zone or self.zone

    @property
    def rows_by(self) -> str:
        """What decides which rows a batch holds, and which of them replace one another."""
        zones = dict.fromkeys((self.wall_clock_zone, self.zone))  # the source's; that of the days
        fields = self.cursor and self.cursor.lower(), self.cursor_unit, *zones
        more = [f"version {self.version.lower()}"] if self.version else []
        if self.soft_deletes == "apply":
            more += ["deleted", self.deleted_column.lower(), *sorted(map(str, self.deleted_values))]
        key = sorted(map(str.lower, self.key))
        return "/".join(map(str, (self.source_name, *fields, *key, *more)))

    @property
    def target(self) -> TableName:
        """The table in the warehouse."""
        return TableName(self.target_schema, self.name)

    @property
    def source_name(self) -> TableName:
        """The table in the source."""
        return parse_source_name(self.source_table)
