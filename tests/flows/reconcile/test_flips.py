"""One value altered on its way: found at the earliest place that can see it, whatever its kind.

`make test` alters each kind once at each place; `make test-nights` more than a thousand times
(docs/reconcile.md).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from prefect import flow

import tasks.copy_in
from blocks.stages.parts.files import write_parts
from ferry.audits.outcome import Difference
from ferry.batch import Batch, Copied, Extract, Staged
from ferry.errors import FerryError, ValuesDifferError
from ferry.plan import BatchPlan
from ferry.schema import Column, Kind, TableName
from ferry.statements import PARAM, Statement, quoted, table_sql
from flows.pipeline.table_specs import load_table_specs
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table
from tasks.audits.compare import compare
from tasks.audits.sides import both_sides
from tasks.copy_in import copy
from tasks.extract import extract
from tasks.plan_batch import plan
from tasks.stage import stage
from tests.harness.journey import Journey

pytestmark = pytest.mark.usefixtures("plain_runs")

ROWS = 40
TYPES = {
    "a_flag": "BIT(1)",
    "a_small": "SMALLINT",
    "an_int": "INT",
    "a_big": "BIGINT",
    "a_price": "DECIMAL(12,2)",
    "a_wide": "DECIMAL(38,10)",
    "a_day": "DATE",
    "a_time": "DATETIME(6)",
    "a_moment": "TIMESTAMP(6) NULL",
    "a_word": "VARCHAR(40)",
    "a_name": "VARCHAR(40)",
    "a_text": "LONGTEXT",
    "a_code": "BINARY(16)",
    "a_blob": "VARBINARY(300)",
    "a_real": "FLOAT",
    "a_double": "DOUBLE",
    "a_json": "JSON",
}


def value_of(kind: Kind, seed: random.Random) -> Any:
    """A random value."""
    moment = datetime(2020, 1, 1) + timedelta(microseconds=seed.randrange(10**14))
    made: dict[Kind, Callable[[], Any]] = {
        Kind.BOOLEAN: lambda: seed.random() < 0.5,
        Kind.INT16: lambda: seed.randrange(-(1 << 15), 1 << 15),
        Kind.INT32: lambda: seed.randrange(-(1 << 31), 1 << 31),
        Kind.INT64: lambda: seed.randrange(-(1 << 63), 1 << 63),
        Kind.DECIMAL: lambda: Decimal(seed.randrange(-(10**9), 10**9)).scaleb(-2),
        Kind.DATE: moment.date,
        Kind.TIME: moment.time,
        Kind.TIMESTAMP: lambda: moment,
        Kind.TIMESTAMPTZ: lambda: moment.replace(tzinfo=UTC),
        Kind.TEXT: lambda: "".join(seed.choices("abc é|:1 ", k=seed.randrange(1, 20))),
        Kind.BINARY: lambda: seed.randbytes(16),
        Kind.FLOAT32: lambda: seed.randrange(1, 1 << 20) / 8,
        Kind.FLOAT64: lambda: seed.randrange(1, 1 << 40) / 8,
        Kind.JSON: lambda: f'{{"n": {seed.randrange(1000)}}}',
    }
    return made[kind]()


def flipped(value: Any, kind: Kind, seed: random.Random) -> Any:
    """Another value of the kind, or none where there was one; of JSON, presence is compared."""
    if kind is Kind.JSON:
        return None if value is not None else "{}"
    if value is not None and seed.random() < 0.2:
        return None
    while True:
        other = value_of(kind, seed)
        if other != value:
            return other


@dataclass
class Flips:
    """A table of every kind, carried, and its batch as far as the staged files."""

    journey: Journey
    batch: Batch
    planned: BatchPlan
    extracted: Extract
    staged: Staged
    folder: Path
    seed: random.Random
    found: int = 0

    @property
    def columns(self) -> list[Column]:
        """All but the key."""
        return [column for column in self.planned.columns if column.name != "id"]

    def read(self) -> pa.RecordBatch:
        """The rows of the source, as they are."""
        batches = list(self.journey.source.read(self.planned.query))
        return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]

    def altered(
        self, rows: pa.RecordBatch, column: Column, row: int | None = None
    ) -> tuple[pa.RecordBatch, int, Any]:
        """The rows with one value altered, of any row or this one; whose, and what it became."""
        place = [each.name for each in self.planned.columns].index(column.name)
        values = rows.column(place).to_pylist()
        row = self.seed.randrange(len(values)) if row is None else row
        values[row] = flipped(values[row], column.type.kind, self.seed)
        arrays = list(rows.columns)
        arrays[place] = pa.array(values, arrays[place].type)
        ids = rows.column([each.name for each in self.planned.columns].index("id")).to_pylist()
        return pa.RecordBatch.from_arrays(arrays, schema=rows.schema), ids[row], values[row]

    def altered_once_each(
        self, rows: pa.RecordBatch
    ) -> tuple[pa.RecordBatch, dict[int, tuple[Column, Any]]]:
        """The rows with a value of each column altered, each in a row of its own; what it became.

        Returns:
            The rows, and by the keys of those that are altered the column and its value.
        """
        became: dict[int, tuple[Column, Any]] = {}
        places = self.seed.sample(range(rows.num_rows), len(self.columns))
        for column, place in zip(self.columns, places, strict=True):
            rows, key, value = self.altered(rows, column, place)
            became[key] = column, value
        return rows, became

    def differing(self) -> dict[str, Difference]:
        """What comparing the whole table finds, by the rows' keys."""
        sides = both_sides(self.batch.spec, self.journey.source, self.journey.warehouse)
        rows = compare(sides, None, datetime.now(UTC)).different_rows(*Difference)
        return {row.key: row.how for row in rows}

    def copied(self) -> Copied:
        journey = self.journey
        done: Copied = copy.fn(
            self.batch, self.extracted, self.staged, journey.stage, journey.warehouse
        )
        return done

    def refused(self, column: Column) -> None:
        """Copying is refused, naming the column."""
        with pytest.raises(ValuesDifferError, match=f"others in {column.name}[.]"):
            self.copied()
        self.found += 1


@pytest.fixture
def begun(journey: Journey, tmp_path: Path) -> Iterator[Callable[[Callable[[Flips], None]], Flips]]:
    """Runs something with the flips of a table, within a flow run."""
    seed = random.Random(2611)
    columns = ", ".join(f"{name} {declared}" for name, declared in TYPES.items())
    journey.sql(f"CREATE TABLE kinds (id INT NOT NULL PRIMARY KEY, {columns})")
    schema = journey.source.describe(TableName("", "kinds"))
    rows = [
        (
            number,
            *(
                None if seed.random() < 0.1 else plain(value_of(column.type.kind, seed))
                for column in schema.columns[1:]
            ),
        )
        for number in range(ROWS)
    ]
    marks = ", ".join("?" * (len(TYPES) + 1))
    journey.sql(f"INSERT INTO kinds VALUES ({marks})", rows)
    journey.write_specs(kinds={"mode": "full", "key": ["id"], "insert_rows": 0})
    sync_table(table="kinds")

    def run(what: Callable[[Flips], None]) -> Flips:
        made: list[Flips] = []

        @flow
        def flips() -> None:
            spec = load_table_specs().named("kinds")
            batch = Batch(
                spec, "full", None, str(uuid.uuid4()), datetime.now(UTC), tmp_path / "work"
            )
            planned = plan.fn(batch, journey.source, journey.warehouse)
            capabilities = journey.warehouse.capabilities
            extracted = extract.fn(batch, planned, journey.source, journey.stage, capabilities)
            staged = stage.fn(batch, extracted, journey.stage)
            made.append(Flips(journey, batch, planned, extracted, staged, tmp_path, seed))
            what(made[0])

        flips()
        return made[0]

    yield run


def plain(value: Any) -> Any:
    """As PyMySQL takes it: a moment as the session's UTC."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


ROUTES = pytest.mark.parametrize(
    "route",
    ["mysql-s3-redshift", pytest.param("mysql-folder-postgres", marks=pytest.mark.nights)],
    indirect=True,
)
TIMES = pytest.mark.parametrize(
    "times",
    [1, pytest.param(10, marks=[pytest.mark.nights, pytest.mark.timeout(1200)])],
    ids=["once", "often"],
)


@ROUTES
@TIMES
def test_a_value_altered_in_a_staged_file_fails_the_copy(begun: Any, times: int) -> None:
    def alter(flips: Flips) -> None:
        rows, (file,) = flips.read(), flips.staged.files
        flips.copied()  # as it is, it passes
        for column in flips.columns * times:
            other, _, _ = flips.altered(rows, column)
            written = write_parts(
                [other],
                flips.planned.columns,
                flips.folder / "altered",
                format=flips.planned.format,
                part_size_bytes=1 << 30,
                hex_prefix=flips.journey.warehouse.capabilities.hex_prefix,
                null_marker=flips.staged.layout.null_marker or None,
            )
            flips.journey.stage.put(written.parts[0], file.key)
            flips.refused(column)

    assert begun(alter).found == len(TYPES) * times


@ROUTES
@TIMES
def test_a_value_altered_in_the_staging_table_fails_the_copy(
    begun: Any, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alter(flips: Flips) -> None:
        rows, sums = flips.read(), tasks.copy_in._sums
        for column in flips.columns * times:
            _, row, value = flips.altered(rows, column)

            def first(
                table: TableName,
                *rest: Any,
                column: Column = column,
                row: int = row,
                value: Any = value,
            ) -> Any:
                assert update(flips.journey, table, column, value, row) == 1
                return sums(table, *rest)

            monkeypatch.setattr(tasks.copy_in, "_sums", first)
            flips.refused(column)
        monkeypatch.setattr(tasks.copy_in, "_sums", sums)
        flips.copied()

    assert begun(alter).found == len(TYPES) * times


@ROUTES
def test_texts_are_proven_by_their_lengths_where_the_spec_says_so(
    begun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is cheaper, and does not see another text of the same length."""

    def alter(flips: Flips) -> None:
        sums, (column,) = tasks.copy_in._sums, [c for c in flips.columns if c.name == "a_word"]
        journey, spec = flips.journey, flips.batch.spec.model_copy(update={"text_sums": "lengths"})
        flips.batch = replace(flips.batch, spec=spec)
        capabilities = journey.warehouse.capabilities
        flips.extracted = extract.fn(
            flips.batch, flips.planned, journey.source, journey.stage, capabilities
        )
        flips.staged = stage.fn(flips.batch, flips.extracted, journey.stage)
        flips.copied()

        def first(table: TableName, *rest: Any) -> Any:
            assert update(journey, table, column, "x" * 41, 3) == 1
            return sums(table, *rest)

        monkeypatch.setattr(tasks.copy_in, "_sums", first)
        flips.refused(column)

    assert begun(alter).found == 1


@ROUTES
@TIMES
def test_a_value_altered_in_the_target_is_found_by_comparing(begun: Any, times: int) -> None:
    def alter(flips: Flips) -> None:
        journey, rows = flips.journey, flips.read()
        names = [each.name for each in flips.planned.columns]
        ids = rows.column(names.index("id")).to_pylist()
        for _ in range(times):
            _, became = flips.altered_once_each(rows)
            for row, (column, value) in became.items():
                assert update(journey, flips.batch.target, column, value, row) == 1
            assert flips.differing() == {str(row): Difference.CHANGED for row in became}
            for row, (column, _) in became.items():
                before = rows.column(names.index(column.name)).to_pylist()[ids.index(row)]
                assert update(journey, flips.batch.target, column, before, row) == 1
            flips.found += len(became)
        assert flips.differing() == {}

    assert begun(alter).found == len(TYPES) * times


@ROUTES
@TIMES
def test_a_value_altered_while_it_is_read_is_found_by_comparing(
    begun: Any, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can see it: what is read is all that the receipt knows."""

    def alter(flips: Flips) -> None:
        rows = flips.read()
        for _ in range(times):
            other, became = flips.altered_once_each(rows)
            with monkeypatch.context() as patched:
                patched.setattr(
                    type(flips.journey.source), "read", lambda *_, other=other: iter([other])
                )
                sync_table(table="kinds")
            (found,) = reconcile(table="kinds", return_state=True).message.split("\n")
            assert f"differs: {len(became)} changed" in found
            assert flips.differing() == {str(row): Difference.CHANGED for row in became}
            flips.found += len(became)

    assert begun(alter).found == len(TYPES) * times


@ROUTES
@TIMES
def test_a_part_file_altered_on_the_disk_is_refused(begun: Any, times: int) -> None:
    def alter(flips: Flips) -> None:
        (part,) = flips.extracted.parts
        content = part.path.read_bytes()
        for _ in range(len(TYPES) * times):
            bad = bytearray(content)
            place = flips.seed.randrange(len(bad))
            bad[place] ^= 1 << flips.seed.randrange(8)
            part.path.write_bytes(bad)
            with pytest.raises(FerryError):
                stage.fn(flips.batch, flips.extracted, flips.journey.stage)
            flips.found += 1
        part.path.write_bytes(content)
        stage.fn(flips.batch, flips.extracted, flips.journey.stage)

    assert begun(alter).found == len(TYPES) * times


def update(journey: Journey, table: TableName, column: Column, value: Any, row: int) -> int:
    """Alter one value in the warehouse; returns how many rows that touched."""
    mark, bound = PARAM, value
    if isinstance(value, bytes):
        mark, bound = (
            f"{BINARY[journey.warehouse.capabilities.dialect]}({PARAM}, 'hex')",
            value.hex(),
        )
    elif column.type.kind is Kind.JSON and value is not None:
        mark = f"{journey.warehouse.capabilities.parses_json or ''}({PARAM})"
        mark = mark if journey.warehouse.capabilities.parses_json else f"CAST({PARAM} AS jsonb)"
    sql = f"UPDATE {table_sql(table)} SET {quoted(column.name)} = {mark} WHERE id = {PARAM}"
    return journey.warehouse.execute(Statement(sql, (bound, row)))


BINARY = {"postgres": "DECODE", "redshift": "TO_VARBYTE"}
