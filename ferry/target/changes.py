"""Whether a batch fits its target, and what has to be done to the target first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ferry.capabilities import Capabilities
from ferry.errors import SchemaError
from ferry.schema import Column, DataType, Kind, TableName, TableSchema, fits
from ferry.statements import NativeType, quoted, table_sql
from ferry.target.retype import HeldColumns, Retype, grown
from ferry.target.retype_refused import Refusal


@dataclass(frozen=True)
class TargetChanges:
    """What makes the target ready; every part of it can be repeated.

    Attributes:
        create: The table is missing.
        add: Columns that the source has gained.
        widen: Text columns that have to become longer, by a statement outside transactions.
        retype: Columns whose type has to grow.
        remake: Columns that become of another type while every row is replaced.
    """

    create: bool = False
    add: tuple[Column, ...] = ()
    widen: tuple[Column, ...] = ()
    retype: tuple[Retype, ...] = ()
    remake: tuple[Retype, ...] = ()


def plan_target(
    target: TableName,
    existing: TableSchema | None,
    columns: Sequence[Column],
    capabilities: Capabilities,
    target_only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    key: Sequence[str] = (),
    full_copy: str = "",
    native_type: NativeType = str,
    held: Callable[[], HeldColumns] = HeldColumns,
    replaced: bool = False,
) -> TargetChanges:
    """What has to be done to the target so that these columns fit.

    A column that the source has gained is added. One whose type has grown without any value being
    lost is given the greater type. Everything else that differs is refused: it needs a person's
    decision, unless every row is replaced. So is a column that the source has not, or no longer, or
    that the spec excludes: a row that is written anew loses its value there.

    Args:
        target: The target.
        existing: What it looks like; None if there is no such table.
        columns: The columns to load.
        capabilities: What the warehouse can do.
        target_only: Columns of the target that the spec knows to be missing in the source.
        exclude: Columns of the source that the spec leaves out.
        key: The table's key, as the spec names it, for the statements in a message.
        full_copy: The command that copies all of the table, for the same.
        native_type: How the warehouse declares a type, for the same.
        held: Asks the warehouse which columns' types cannot be changed; only if some have to be, or
            columns are to be dropped or renamed.
        replaced: Whether the batch is to replace every row of the target.

    Raises:
        SchemaError: Columns or types do not fit; the message lists every one of them.
    """
    check_limits(target, columns, capabilities)
    if existing is None:
        return TargetChanges(create=True)
    refuse_two_homes(target, existing, columns, target_only)
    if capabilities.tells_case:
        _refuse_upper_case(target, existing, columns)
    add, changes = _compare(existing, columns, native_type)
    widen = [c for c in changes if c.grows and capabilities.widens_text and _is_text(c)]
    unfit = [c for c in changes if not c.grows]
    retype = [c for c in changes if c not in widen and c not in unfit]
    known = {column.name for column in columns} | {name.lower() for name in target_only}
    gone = [column.name for column in existing.columns if column.name.lower() not in known]
    holding = held() if changes or gone else HeldColumns()
    refusal = Refusal(target, existing, native_type, capabilities, holding)
    if unfit and not replaced:
        raise refusal.undecided(unfit, full_copy)
    if stuck := [each for each in (*retype, *unfit) if each.there.name in holding.columns]:
        raise refusal.refused(stuck, replaced=replaced)
    if too_short := [each for each in widen if holding.lengths.get(each.there.name)]:
        raise refusal.not_lengthened(too_short)
    left_out = {name.lower() for name in exclude}
    if lost := [name for name in gone if name.lower() not in left_out]:
        raise refusal.lost(lost, add, key, replaced=replaced)
    if gone:
        raise refusal.excluded(gone, key, replaced=replaced)
    return TargetChanges(
        add=tuple(add),
        widen=tuple(change.wanted for change in widen),
        retype=tuple(retype),
        remake=tuple(unfit),
    )


def refuse_two_homes(
    target: TableName,
    existing: TableSchema,
    columns: Sequence[Column],
    target_only: Sequence[str],
) -> None:
    """Refuse to carry a column into one that the target alone is said to have.

    Raises:
        SchemaError: The source has such a column by now, whose values would replace the target's.
            No retry helps.
    """
    own = {name.lower() for name in target_only}
    both = [c.name for c in columns if c.name.lower() in own and existing.column(c.name)]
    if both:
        raise SchemaError(
            f"the source has columns of `target_only`: {', '.join(both)}",
            table=str(target),
            expected="columns that the target alone has",
            todo="To keep the target's values, name them in `exclude`, too; to have the source's "
            "in their place, take them out of `target_only`.",
        )


def _refuse_upper_case(target: TableName, existing: TableSchema, columns: Sequence[Column]) -> None:
    """Refuse columns that another tool has made under a carried one's name in other letters.

    Ferry's statements would not find such a column, or would empty it beside its own.
    """
    carried = {column.name.lower() for column in columns}
    others = [
        column.name
        for column in existing.columns
        if column.name.lower() in carried and column.name != column.name.lower()
    ]
    if not others:
        return
    there = set(existing.column_names)
    free = [name if name.lower() not in there else f"{name}_of_before" for name in others]
    renamed = " ".join(
        f"ALTER TABLE {table_sql(target)} RENAME COLUMN {quoted(name)} TO {quoted(new.lower())};"
        for name, new in zip(others, free, strict=True)
    )
    raise SchemaError(
        f"columns of the target differ from carried ones in upper case alone: {', '.join(others)}",
        table=str(target),
        expected="names in lower case, as they are carried",
        todo=f"Rename them: {renamed}",
    )


def _compare(
    existing: TableSchema, columns: Sequence[Column], native_type: NativeType
) -> tuple[list[Column], list[Retype]]:
    """The columns that the target lacks, and those whose type does not fit."""
    add, changes = [], []
    for column in columns:
        there = existing.column(column.name)
        if there is None:
            add.append(column)
        elif not fits(column.type, there.type):
            wanted = grown(column.type, there.type)
            if wanted and not _declarable(wanted, native_type):
                wanted = None
            new = replace(column, name=there.name, type=wanted or column.type)
            changes.append(Retype(there, new, column.type, grows=wanted is not None))
    return add, changes


def _is_text(change: Retype) -> bool:
    return change.wanted.type.kind is change.there.type.kind is Kind.TEXT


def _declarable(data_type: DataType, native_type: NativeType) -> bool:
    """Whether the warehouse has a type that holds such values."""
    try:
        native_type(data_type)
    except SchemaError:
        return False
    return True


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
    names = (target.schema, target.name, *(column.name for column in columns))
    long = [name for name in names if len(name.encode()) > limit]
    if long:
        raise SchemaError(
            f"names longer than the warehouse's {limit} bytes: {', '.join(long)}",
            table=str(target),
            todo="Choose shorter ones: of a source's names, by a view.",
        )
    reserved = [c.name for c in columns if c.name.lower() in capabilities.reserved_columns]
    if reserved:
        raise SchemaError(
            f"the warehouse keeps names of columns for itself: {', '.join(reserved)}",
            table=str(target),
            todo="`exclude` these columns in the table's spec, or carry a view with other names.",
        )
