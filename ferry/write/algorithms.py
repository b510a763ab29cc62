"""The write algorithms, once for all warehouses.

Each works within one transaction over `Transaction`, counts what it did, and can be repeated:

- `replace_all`: the target becomes the batch.
- `upsert` (`ferry.write.upsert`): rows of the batch replace the target's rows of the same key,
  unless the target has a newer version; the newest row of a key in the batch wins.
- `replace_from`: the target's rows at or after a bound become the batch (append without a key).

`write` chooses among them. A window needs a key: without one, nothing tells which of the target's
rows it replaces.
"""

from __future__ import annotations

from collections.abc import Sequence

from ferry import statements as sql
from ferry.batch import CursorValue
from ferry.capabilities import Capabilities
from ferry.errors import no_window_without_key
from ferry.statements import Transaction
from ferry.write import merge
from ferry.write.load import Load, Written, insert
from ferry.write.refusals import no_cursor_in_target, refuse_emptying, refuse_shrinking
from ferry.write.upsert import upsert


def write(
    tx: Transaction,
    load: Load,
    capabilities: Capabilities,
    mode: str,
    start: CursorValue | None = None,
    emptied: Sequence[str] = (),
) -> list[Written]:
    """Let the batch into its target, by the algorithm that its mode and its key ask for.

    Args:
        tx: The transaction that writes the receipt, too.
        load: The batch.
        capabilities: What the warehouse can do.
        mode: full, window or watermark.
        start: The bound from which a watermark without a key was read; None if all was.
        emptied: Statements to run in a full copy while the target has no rows.

    Returns:
        What became of the batch; of several windows that travel together, of each.

    Raises:
        RequestError: A window of a table without a key.
        DataError, StaleReadError, CountMismatchError: As the algorithms below.
    """
    if mode == "full":
        return [replace_all(tx, load, capabilities, emptied)]
    if load.key:
        return upsert(tx, load, capabilities)
    if mode == "window":
        raise no_window_without_key(str(load.target))
    return [replace_from(tx, load, start, capabilities)]


def replace_all(
    tx: Transaction, load: Load, capabilities: Capabilities, emptied: Sequence[str] = ()
) -> Written:
    """Make the target hold just the batch.

    Args:
        tx: The transaction.
        load: The batch.
        capabilities: What the warehouse can do.
        emptied: Statements to run while the target has no rows.

    Raises:
        DataError: The target would be emptied, or shrink by more than it may.
        CountMismatchError: The staging table does not hold the rows that were copied.
    """
    deleted = tx.execute(sql.delete_all(load.target))
    for statement in emptied:
        tx.execute(statement)
    inserted = insert(tx, load, capabilities)
    refuse_emptying(inserted, deleted, allowed=load.allow_empty, some_deleted=bool(load.deleted))
    refuse_shrinking(inserted, deleted, load.max_shrink_percent)
    return Written(inserted=inserted, deleted=deleted, unchanged=load.rows - inserted)


def replace_from(
    tx: Transaction, load: Load, start: CursorValue | None, capabilities: Capabilities
) -> Written:
    """Make the target's rows at or after `start` be the batch; one without rows changes nothing.

    Without `start`, those at or after the batch's lowest cursor: what the target has before it, and
    where the batch is empty all that it has, the source has forgotten. Rows that are there before
    and after are counted as unchanged, the others as deleted and inserted; all are where the
    warehouse is not known to group by a column's kind.

    Raises:
        DataError: The target would shrink by more than it may, or has rows, and none with a cursor:
            nothing tells which of them the batch replaces.
        CountMismatchError: The staging table does not hold the rows that were copied.
    """
    if load.staging is None:
        return Written()
    if load.cursor is None:
        return replace_all(tx, load, capabilities)
    if start is None and not load.into_empty:
        start = tx.fetch(sql.lowest_and_highest(load.staging, load.cursor))[0][0]
        comparable = tx.fetch(sql.any_row(load.target, with_value_in=load.cursor))
        if start is None or not comparable:
            raise no_cursor_in_target(load.cursor)
    if start is None:
        return Written(inserted=insert(tx, load, capabilities))
    before = 0
    if load.max_shrink_percent is not None:
        before = int(tx.fetch(sql.count_rows(load.target))[0][0])
    same = 0
    if not any(column.type.kind in capabilities.not_grouped for column in load.columns):
        count = merge.count_equal_rows(
            load.staging, load.target, load.columns, load.cursor, start, capabilities.pads_text
        )
        same = int(tx.fetch(count)[0][0] or 0)
    deleted = tx.execute(sql.delete_from(load.target, load.cursor, start))
    inserted = insert(tx, load, capabilities)
    refuse_shrinking(before - deleted + inserted, before, load.max_shrink_percent)
    return Written(inserted=inserted - same, deleted=deleted - same, unchanged=same)
