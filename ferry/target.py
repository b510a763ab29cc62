"""Whether a batch fits its target, and what has to be done to the target first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ferry.capabilities import Capabilities
from ferry.errors import SchemaError
from ferry.schema import Column, Kind, TableName, TableSchema, fits


@dataclass(frozen=True)
class TargetPlan:
    """What makes the target ready; every part of it can be repeated.

    Attributes:
        create: The table is missing.
        add: Columns that the source has gained.
        widen: Text columns that have to become longer.
    """

    create: bool = False
    add: tuple[Column, ...] = ()
    widen: tuple[Column, ...] = ()


def plan_target(
    target: TableName,
    existing: TableSchema | None,
    columns: Sequence[Column],
    capabilities: Capabilities,
    target_only: Sequence[str] = (),
) -> TargetPlan:
    """What has to be done to the target so that these columns fit.

    A column that the source has gained is added. A text column that has become longer is widened.
    Everything else that differs is refused: it needs a person's decision. So is a column that the
    source has not, or no longer: a row that is written anew loses its value there.

    Args:
        target: The target.
        existing: What it looks like; None if there is no such table.
        columns: The columns to load.
        capabilities: What the warehouse can do.
        target_only: Columns of the target that the spec knows to be missing in the source.

    Raises:
        SchemaError: Columns or types do not fit; the message lists every one of them.
    """
    check_limits(target, columns, capabilities)
    if existing is None:
        return TargetPlan(create=True)
    add, widen, problems = [], [], []
    for column in columns:
        there = existing.column(column.name)
        if there is None:
            add.append(column)
        elif not fits(column.type, there.type):
            if _can_widen(column, there, capabilities):
                widen.append(column)
            else:
                problems.append(
                    f"{column.name} is {column.type} in the source and {there.native or there.type}"
                    " in the target"
                )
    if problems:
        raise SchemaError(
            "the target's columns do not fit: " + "; ".join(problems),
            table=str(target),
            todo="Change the target's column, `exclude` it in the table's spec, or rename the "
            "target and let it be made again.",
        )
    known = {column.name for column in columns} | {name.lower() for name in target_only}
    gone = [column.name for column in existing.columns if column.name.lower() not in known]
    if gone:
        raise SchemaError(
            f"the target has columns that the source has not: {', '.join(gone)}",
            table=str(target),
            todo="If they were dropped or renamed in the source, drop or rename them in the "
            "target. If they are to stay, name them in `target_only` in the table's spec: rows "
            "that change will have NULL there.",
        )
    return TargetPlan(add=tuple(add), widen=tuple(widen))


def _can_widen(column: Column, there: Column, capabilities: Capabilities) -> bool:
    longer = column.type.kind is there.type.kind is Kind.TEXT
    return longer and capabilities.widens_text


def within_limits(columns: Sequence[Column], capabilities: Capabilities) -> tuple[Column, ...]:
    """The columns with text and binary no longer than the warehouse can hold.

    A column without a limit, or with a higher one, gets the warehouse's; the load refuses a value
    that is longer.
    """
    limits = {Kind.TEXT: capabilities.max_text_bytes, Kind.BINARY: capabilities.max_binary_bytes}

    def limited(column: Column) -> Column:
        limit = limits.get(column.type.kind)
        if limit is None or (column.type.max_bytes or limit + 1) <= limit:
            return column
        return replace(column, type=replace(column.type, max_bytes=limit))

    return tuple(limited(column) for column in columns)


def check_limits(target: TableName, columns: Sequence[Column], capabilities: Capabilities) -> None:
    """Refuse what the warehouse would cut or refuse less clearly.

    Raises:
        SchemaError: Too many columns, or a name that is too long or the warehouse's own.
    """
    if len(columns) > capabilities.max_columns:
        raise SchemaError(
            "the table has more columns than the warehouse can hold",
            table=str(target),
            expected=f"at most {capabilities.max_columns}",
            found=len(columns),
            todo="`exclude` some in the table's spec, or carry views of it.",
        )
    limit = capabilities.max_identifier_bytes
    long = [n for n in (target.name, *(c.name for c in columns)) if len(n.encode()) > limit]
    if long:
        raise SchemaError(
            f"names longer than the warehouse's {limit} bytes: {', '.join(long)}",
            table=str(target),
            todo="Carry a view with shorter names.",
        )
    reserved = [c.name for c in columns if c.name.lower() in capabilities.reserved_columns]
    if reserved:
        raise SchemaError(
            f"the warehouse keeps names of columns for itself: {', '.join(reserved)}",
            table=str(target),
            todo="`exclude` these columns in the table's spec, or carry a view with other names.",
        )
