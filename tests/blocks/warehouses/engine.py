"""A warehouse as the contract's tests see it: what each engine's fixture gives."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

from blocks.stage import Stage
from blocks.stages.parts.files import write_parts
from blocks.warehouse import Warehouse
from ferry.batch import FileLayout, PartFile, Staged, StageFormat
from ferry.schema import Column, Kind, TableName, arrow_schema


@dataclass
class Engine:
    """A warehouse, its stage, and an empty schema in it.

    Attributes:
        warehouse: The warehouse.
        stage: A stage that it can load from.
        schema: The schema, which is its own.
        folder: For files.
        conflict: Makes two transactions conflict over a table `(id, name)` of one row.
        foreign_type: A type that it has and Ferry does not load.
        widest_decimal: The most digits of a decimal that it holds.
        refused: Kinds that it does not read from files of a format.
        goes_on_after_errors: Whether a transaction takes more statements after one that failed.
        as_number: What makes a whole number of a text, and fails over one that is none.
        as_moment: What makes a moment of a text that tells its zone.
    """

    warehouse: Warehouse
    stage: Stage
    schema: str
    folder: Path
    conflict: Callable[[Engine, str], None]
    foreign_type: str = "char(3)"
    widest_decimal: int = 38
    refused: Mapping[StageFormat, Collection[Kind]] = field(default_factory=dict)
    goes_on_after_errors: bool = False
    as_number: str = "CAST({} AS INTEGER)"
    as_moment: str = "CAST({} AS TIMESTAMP WITH TIME ZONE)"

    def table(self, name: str = "t") -> TableName:
        return TableName(self.schema, name)

    def create(self, columns: tuple[Column, ...], name: str = "t") -> TableName:
        declared = ", ".join(
            f'"{each.name}" {self.warehouse.native_type(each.type)}'
            f"{'' if each.nullable else ' NOT NULL'}"
            for each in columns
        )
        self.warehouse.execute(f'CREATE TABLE "{self.schema}"."{name}" ({declared})')
        return self.table(name)

    def stage_rows(
        self,
        columns: tuple[Column, ...],
        *files: list[tuple[Any, ...]],
        format: StageFormat = StageFormat.CSV,
    ) -> Staged:
        """One part file for each list of rows, written by the real writer, in the real stage."""
        run = uuid.uuid4().hex[:8]
        schema = arrow_schema(columns)
        parts, extract = [], None
        for number, rows in enumerate(files):
            arrays = [
                pa.array([row[i] for row in rows], schema.field(i).type)
                for i in range(len(columns))
            ]
            extract = write_parts(
                [pa.RecordBatch.from_arrays(arrays, schema=schema)],
                columns,
                self.folder / f"{run}-{number}",
                format=format,
                part_size_bytes=1 << 30,
                hex_prefix=self.warehouse.capabilities.hex_prefix,
                null_marker="~null-test~",
            )
            parts += [
                self.stage.put(part, f"{run}/part-{number}.{format}") for part in extract.parts
            ]
        assert extract is not None
        manifest = self.stage.write_manifest(parts, f"{run}/manifest.json")
        return Staged(tuple(parts), manifest, extract.layout, sum(map(len, files)))

    def stage_text(self, columns: tuple[Column, ...], *files: bytes) -> Staged:
        """CSV files of exactly these bytes."""
        run = uuid.uuid4().hex[:8]
        staged = []
        for number, content in enumerate(files):
            path = self.folder / f"{run}-{number}"
            path.write_bytes(packed := zstandard.compress(content))
            part = PartFile(path, 1, len(packed), hashlib.sha256(packed).hexdigest())
            staged.append(self.stage.put(part, f"{run}/part-{number}.csv"))
        manifest = self.stage.write_manifest(staged, f"{run}/manifest.json")
        layout = FileLayout(columns, StageFormat.CSV, "~null-test~")
        return Staged(tuple(staged), manifest, layout, len(files))
