"""stage: the part files, and last the manifest, to where the warehouse can fetch them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

from prefect import task
from prefect.logging import get_run_logger

from blocks.stage import Stage
from ferry.batch import Batch, Extract, Staged, StagedFile, StageFormat
from ferry.errors import CountMismatchError, FerryError
from ferry.schema import Kind
from ferry.specs.tables import TableSpec
from tasks.step import RETRY_JITTER, STEP, explains, located

SUFFIX = {StageFormat.CSV: "csv.zst", StageFormat.PARQUET: "parquet"}
FORGOTTEN_DAYS = 7
IN_USE_DAYS = 2
"""For so long, and its retries' waits, a batch may need its files: its upload and its COPY."""
UPLOADS_AT_ONCE = 4
INSERT_BYTES = 1_000_000
"""The values as they are, not compressed: a statement of Redshift's ends at 16 MB of text, and a
text of nothing but quotes is twice as long in it."""
_LITERAL_BYTES = 40
"""What a number, a time or a NULL takes in a statement's text, at most."""
_NEEDS_COPY = (Kind.BINARY, Kind.JSON)


@task(name="stage", task_run_name="stage {batch}", **STEP)
@explains
def stage(batch: Batch, extracted: Extract, stage: Stage) -> Staged:
    """Upload the parts and, last, the manifest; a tiny batch needs neither.

    Of a large full copy, extract has uploaded the parts already (`tasks.staged_pieces`). Safe
    to repeat: every attempt has keys of its own, and nothing reads a prefix.

    Raises:
        AccessError: No such bucket, or no permission. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    with located(batch, "stage", stage):
        if goes_by_insert(batch.spec, extracted):
            return Staged((), None, extracted.layout, extracted.rows)
        where = f"{folder(batch)}/{uuid.uuid4().hex[:8]}"
        files: dict[int, StagedFile] = {}
        manifest: StagedFile | None = None

        def put(number: int) -> None:
            key = f"{where}/part-{number:05}.{SUFFIX[extracted.layout.format]}"
            files[number] = stage.put(extracted.parts[number], key)

        try:
            if extracted.staged:
                parts = list(extracted.staged)
            else:
                put(0)  # alone: it makes the connection that the others share
                with ThreadPoolExecutor(UPLOADS_AT_ONCE, thread_name_prefix="stage") as uploads:
                    list(uploads.map(put, range(1, len(extracted.parts))))
                parts = [files[number] for number in range(len(extracted.parts))]
            manifest = stage.write_manifest(parts, f"{where}/manifest.json")
            rows = sum(file.rows for file in parts)
            staged = Staged(tuple(parts), manifest, extracted.layout, rows, extracted.record_key)
            if staged.rows != extracted.rows:
                raise CountMismatchError(
                    "rows staged are not the rows extracted",
                    expected=extracted.rows,
                    found=staged.rows,
                    todo="Run it again; nothing has reached the warehouse.",
                )
        except Exception:
            with _quietly():
                made = [*files.values(), *([manifest] if manifest else [])]
                stage.discard([file.key for file in made])
            raise
        return staged


def goes_by_insert(spec: TableSpec, extracted: Extract) -> bool:
    """Whether the rows are few, small and plain enough for one INSERT of bound values."""
    columns = extracted.layout.columns
    plain = not any(column.type.kind in _NEEDS_COPY for column in columns)
    literals = extracted.rows * len(columns) * _LITERAL_BYTES
    small = extracted.content_bytes + literals <= INSERT_BYTES
    few = extracted.rows <= spec.insert_rows and not extracted.staged
    return plain and small and few


def prefix(spec: TableSpec) -> str:
    """The keys of all of the table's staged files begin with this."""
    return f"{spec.target}/"


def folder(batch: Batch) -> str:
    """The keys of all of the batch's staged files begin with this and a slash."""
    return f"{prefix(batch.spec)}{batch.label_slug}/{batch.id}"


def discard(spec: TableSpec, staged: Staged, stage: Stage) -> None:
    """Remove a loaded batch's staged files, unless the spec asks to keep them.

    Of a copy that goes on, also what earlier attempts have left in the batch's folder. A failure is
    logged and does not fail the run: the rows have landed, and `discard_forgotten` removes the
    files later.
    """
    used = [staged.record_key] if staged.record_key else []
    if staged.manifest and not spec.keep_staged_days:
        used += [file.key for file in (*staged.files, staged.manifest)]
    if not used:
        return
    with _quietly():
        stage.discard(used)
        if staged.record_key and staged.manifest and not spec.keep_staged_days:
            stage.discard(list(stage.stored_under(staged.record_key.rpartition("/")[0])))


def discard_forgotten(spec: TableSpec, stage: Stage) -> int:
    """Remove the table's staged files that nobody needs any more; returns how many.

    These are files older than `keep_staged_days`, and what killed runs left behind a week ago: by
    the clock of the stage, whatever this machine's says.
    """
    days = max(spec.keep_staged_days or FORGOTTEN_DAYS, IN_USE_DAYS)
    waits = timedelta(seconds=spec.retries * spec.retry_delay_seconds * (1 + RETRY_JITTER))
    return stage.discard_older(prefix(spec), stage.now() - timedelta(days=days) - waits)


@contextmanager
def _quietly() -> Iterator[None]:
    """A failure to remove files is logged alone."""
    try:
        yield
    except FerryError as error:
        get_run_logger().warning("staged files could not be removed yet: %s", error)
