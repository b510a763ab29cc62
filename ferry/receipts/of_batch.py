"""The receipt of a batch that lands: what each step has found, and what became of its rows."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import ferry
from ferry.batch import Batch, Copied, CursorValue, Extract, RowsAndSums, Staged
from ferry.cursors import counts_no_time, find_cursor
from ferry.fingerprints.sums import ValueSums
from ferry.plan import BatchPlan
from ferry.receipts.columns_carried import columns_text
from ferry.receipts.read_as import read_as
from ferry.receipts.receipt import LOADED, PARTIAL, Receipt, moment_after
from ferry.unix_time import UnixUnit, from_unix
from ferry.windows import clamped, on_clock
from ferry.write.load import Written


@dataclass(frozen=True)
class Arrived:
    """A batch in its staging table, and what each step before has made of it."""

    batch: Batch
    plan: BatchPlan
    extracted: Extract
    staged: Staged
    copied: Copied
    started_at: datetime


def receipt_of(
    receipt_id: str, arrived: Arrived, batch: Batch, position: int, landed: Written
) -> Receipt:
    """The receipt of the batch; of the window at this position, where several travel together.

    Args:
        receipt_id: The id under which it lands.
        arrived: The batch that landed, and what each step has made of it.
        batch: The batch; of several windows, the one at the position.
        position: Which one that is.
        landed: What became of its rows.
    """
    plan, extracted = arrived.plan, arrived.extracted
    window, cursor, staged, copied = batch.window, plan.cursor, arrived.staged, arrived.copied
    read, loaded = (extracted.rows, extracted.sums), (copied.rows, copied.sums)
    staged_rows = staged.rows
    if arrived.batch.windows:
        read, loaded = (
            _of_window(extracted.by_window, position),
            _of_window(copied.by_window, position),
        )
        staged_rows = read[0]  # the files hold just what was read
    salt = secrets.token_hex(16)  # and forgotten, so that no value can be guessed from a sum
    start = _as_moment(plan.start, batch.spec.cursor_unit)
    return Receipt(
        batch_id=receipt_id,
        table_name=str(batch.target),
        mode=batch.mode,
        window_start=window.start if window else _moment(start),
        window_end=window.end if window else None,
        window_label=f"from {start}" if start is not None else batch.label,
        status=PARTIAL if batch.subset or extracted.left_out else LOADED,
        rows_extracted=read[0],
        rows_staged=staged_rows,
        rows_copied=loaded[0],
        rows_inserted=landed.inserted,
        rows_updated=landed.updated,
        rows_deleted=landed.deleted,
        rows_unchanged=landed.unchanged,
        rows_superseded=landed.superseded,
        checksum=extracted.checksum,
        manifest_uri=staged.manifest_uri,
        code_version=ferry.__version__,
        flow_run_id=batch.flow_run_id,
        started_at=arrived.started_at,
        finished_at=datetime.now(UTC),
        cursor_name=cursor.name if cursor else None,
        read_at=extracted.read_at,
        complete_until=_complete_until(batch, plan, extracted.read_at),
        read_as=read_as(batch.spec, batch.mode, cursor.type.kind if cursor else None, plan.key),
        sums_read=read[1].salted_text(salt) if read[0] and read[1] else None,
        sums_staged=loaded[1].salted_text(salt) if loaded[0] and loaded[1] else None,
        text_sums=batch.spec.text_sums if loaded[0] and loaded[1] else None,
        source_snapshot=extracted.snapshot,
        columns_carried=columns_text(plan.columns) or None,
    )


def dated_after(before: datetime | None, receipt: Receipt) -> Receipt:
    """The receipt, dated after those before it that may be of the same rows.

    They tell in this order what became of the rows, and who wrote them may have had a clock that
    was ahead.

    Args:
        before: The latest date of those before it; None if there are none.
        receipt: The receipt.
    """
    return replace(receipt, finished_at=moment_after(before, receipt.finished_at))


def _as_moment(start: CursorValue | None, unit: UnixUnit | None) -> CursorValue | None:
    """The watermark as people know it: of Unix time, the moment."""
    return from_unix(start, unit) if unit and isinstance(start, int | Decimal) else start


def _moment(start: CursorValue | None) -> datetime | None:
    moment = start if isinstance(start, datetime) and start.tzinfo else None
    return moment and on_clock(moment, UTC)


def _of_window(found: Sequence[RowsAndSums], position: int) -> tuple[int, ValueSums | None]:
    """What a step found of the window at this position; nothing where the batch has no rows."""
    return (found[position].rows, found[position].sums) if found else (0, None)


def _complete_until(batch: Batch, plan: BatchPlan, read_at: datetime | None) -> datetime | None:
    """Up to when the source's rows were certainly there to be read, by its own clock."""
    if read_at is None:
        return None
    # What a full copy has read counts as the windows, or the watermarks, that come after it.
    mode = batch.spec.mode if batch.mode == "full" else batch.mode
    late_seconds = 0
    if "window" in (mode, batch.spec.mode):  # a watermark's of such a table counts for its windows
        late_seconds = batch.spec.settle_seconds
    if "watermark" in (mode, batch.spec.mode):  # a backfill's window counts for these
        cursor = find_cursor(batch.spec, plan.query.schema.columns, "watermark")
        if cursor and not counts_no_time(batch.spec, cursor):  # else the lag is of ids
            late_seconds = max(late_seconds, batch.spec.lag)
    return clamped(read_at, -timedelta(seconds=late_seconds))
