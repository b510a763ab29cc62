"""Columns of the target alone: what replaces every row would empty them."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch, CursorValue
from ferry.schema import Column, TableSchema
from ferry.write.refusals import would_empty


def refuse_emptying_columns(
    batch: Batch,
    existing: TableSchema | None,
    columns: Sequence[Column],
    start: CursorValue | None,
    warehouse: Warehouse,
) -> None:
    """Refuse a batch that replaces every row, where columns of `target_only` hold values.

    They are nowhere else: the rows that it writes have NULL there, unless the warehouse fills the
    column itself.

    Args:
        batch: What is carried: a full copy, or a watermark of a table without a key.
        existing: The target as it is; None if there is none.
        columns: The columns to load.
        start: From where on a watermark reads; None if it reads all.
        warehouse: Where.

    Raises:
        SchemaError: There is such a value. No retry helps.
    """
    all_of_it = batch.mode == "full" or (batch.mode == "watermark" and not batch.spec.key)
    if existing is None or not all_of_it or start is not None:
        return
    carried = {column.name for column in columns}
    alone = {name.lower() for name in batch.spec.target_only} - carried
    if not alone:
        return
    alone -= warehouse.filled_columns(batch.target)
    held = [
        column.name
        for column in existing.columns
        if column.name.lower() in alone
        and warehouse.fetch(sql.any_row(batch.target, with_value_in=column.name))
    ]
    if held:
        spec = batch.spec
        windows = bool(spec.key) and spec.mode != "full"
        raise would_empty(batch.target, spec.key, held, windows=windows)
