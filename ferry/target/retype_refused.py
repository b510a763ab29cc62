"""What is said of columns that do not fit the target, with the statements that make them fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ferry.capabilities import Capabilities
from ferry.errors import SchemaError
from ferry.schema import Column, TableName, TableSchema, fits
from ferry.statements import NativeType, copy_aside, quoted, table_sql
from ferry.target.retype import HeldColumns, Retype, View, change_type, copy_anew

NOT_COPIED = (
    "That copies no partitions, indexes, triggers, policies, publications and grants, no defaults, "
    "and of the constraints only the primary key and NOT NULL: to keep these, put them into CREATE "
    "TABLE, or the statements that make them after it, and PARTITION BY at its end."
)
FREED_AGAIN = (
    "Then make again what this has taken away; below another table, once that has the same type, "
    "too."
)
MADE_AGAIN = "Then make the views again, with what was granted on them."


@dataclass(frozen=True)
class Refusal:
    """What is refused of the changes that a target would need, and what to do instead.

    Attributes:
        target: The target.
        existing: What it looks like.
        native_type: How the warehouse declares a type.
        capabilities: What it can do.
        held: What cannot be changed in it.
    """

    target: TableName
    existing: TableSchema
    native_type: NativeType
    capabilities: Capabilities
    held: HeldColumns

    def undecided(self, unfit: Sequence[Retype], full_copy: str) -> SchemaError:
        """The error for types that no value-keeping change makes fit.

        Args:
            unfit: The columns.
            full_copy: The command that copies all of the table; refused where a column is held.
        """
        held = [change for change in unfit if change.there.name in self.held.columns]
        free = self._freeing(held)
        lines = self._copied(unfit) if held and not free else self._changed(unfit, free)
        if free:
            lines = f"{self._definitions()} {lines} {FREED_AGAIN}"
        return SchemaError(
            "the target's columns do not fit: " + _listed(unfit),
            table=str(self.target),
            todo=(
                "Change the target's columns"
                if held
                else "Carry the whole table, which replaces every row, and the columns with them: "
                f"{full_copy} Or change the target's columns"
            )
            + f", if their values may be converted: {lines} Or `exclude` the columns in the "
            "table's spec, and drop them in the target or name them in `target_only`.",
        )

    def refused(self, stuck: Sequence[Retype], *, replaced: bool) -> SchemaError:
        """The error for columns of keys, whose types the warehouse does not change.

        Args:
            stuck: These columns.
            replaced: Whether the batch was to replace every row.
        """
        parts = ", ".join(f"{c.there.name} (of {self.held.columns[c.there.name]})" for c in stuck)
        table, before = self.target, quoted(f"{self.target.name}_before")
        if free := self._freeing(stuck):
            todo = (
                f"{self._definitions()} Run: {' '.join(f'{each};' for each in free)} Run the table "
                f"again. {FREED_AGAIN}"
            )
        elif replaced:
            todo = "Put the table aside: " + self._without_views(
                f"{self._first()}ALTER TABLE {table_sql(table)} RENAME TO {before}; Run it again "
                "in mode full, which makes it anew. Then grant again what was granted on it."
            )
        else:
            todo = (
                "Copy the table into one of the other types, and grant again what was granted on "
                f"it: {self._copied(stuck)}"
            )
        return SchemaError(
            "the target's columns do not fit: " + _listed(stuck),
            table=str(table),
            expected="columns whose type the warehouse can change",
            found=parts,
            todo=todo,
        )

    def not_lengthened(self, short: Sequence[Retype]) -> SchemaError:
        """The error for text columns that the warehouse does not make longer as they are."""
        holds = {change.there.name: self.held.lengths[change.there.name] for change in short}
        found = "; ".join(
            f"{name} ({', '.join(each.what for each in some)})" for name, some in holds.items()
        )
        fixed = [c for c in short if not all(h.statement for h in holds[c.there.name])]
        freed = [c for c in short if c not in fixed]
        statements = dict.fromkeys(h.statement for c in freed for h in holds[c.there.name])
        todo = []
        if statements:
            todo.append(f"Run: {' '.join(statements)}")
        if fixed:
            swapped = not any(change.there.name in self.held.columns for change in fixed)
            script = self._changed(fixed) if swapped else self._copied(fixed)
            todo.append(f"Make the column anew, without what holds it: {script}")
        return SchemaError(
            "the target's columns do not fit: " + _listed(short),
            table=str(self.target),
            expected="text columns that the warehouse can make longer",
            found=found,
            todo=f"{' '.join(todo)} Then run the table again.",
        )

    def lost(
        self, gone: Sequence[str], gained: Sequence[Column], key: Sequence[str], *, replaced: bool
    ) -> SchemaError:
        """The error for columns that the source has not, or has no longer.

        Args:
            gone: These columns.
            gained: The columns that the target is to gain.
            key: The table's key.
            replaced: Whether the batch was to replace every row.
        """
        table, drops = table_sql(self.target), self._drops(gone)
        there = {name: self.existing.column(name) for name in gone}
        renames = " ".join(
            f"ALTER TABLE {table} RENAME COLUMN {quoted(old)} TO {quoted(new.name)};"
            for old, column in there.items()
            for new in gained
            if column and fits(new.type, column.type)
        )
        return SchemaError(
            f"the target has columns that the source has not: {', '.join(gone)}",
            table=str(self.target),
            todo="See first that the source's user may still SELECT them (MySQL: SHOW GRANTS): a "
            "column without that right is as if it were not there. "
            f"If they were dropped in the source, drop them: {drops} "
            + (f"If one was renamed, rename it: {self._first()}{renames} " if renames else "")
            + (
                self._kept_beside(gone, key)
                if replaced
                else "If they are to stay, name them in `target_only` in the table's spec: rows "
                "that change will have NULL there."
            ),
        )

    def excluded(self, names: Sequence[str], key: Sequence[str], *, replaced: bool) -> SchemaError:
        """The error for columns that the spec excludes, and whose values would get old there.

        Args:
            names: These columns.
            key: The table's key.
            replaced: Whether the batch was to replace every row.
        """
        return SchemaError(
            f"the target has columns that the spec excludes: {', '.join(names)}",
            table=str(self.target),
            todo="To carry them, take them out of `exclude` in the table's spec. If they are not "
            f"to be carried any more, drop them in the target: {self._drops(names)} "
            + (
                self._kept_beside(names, key)
                if replaced
                else "If their values are to stay there, name them in `target_only`, too: rows "
                "that change will have NULL there."
            ),
        )

    def _kept_beside(self, names: Sequence[str], key: Sequence[str]) -> str:
        """How to keep values that a batch which replaces every row would empty."""
        return (
            "If their values are to be kept, copy them first to a table of their own, as every row "
            f"is replaced: {copy_aside(self.target, key, names)} A column that the warehouse "
            "itself fills can be named in `target_only`."
        )

    def _drops(self, names: Sequence[str]) -> str:
        table = table_sql(self.target)
        drops = (f"ALTER TABLE {table} DROP COLUMN {quoted(name)};" for name in names)
        return self._first() + " ".join(drops)

    def _first(self) -> str:
        return "".join(f"{each}; " for each in self.held.dropped_first)

    def _freeing(self, held: Sequence[Retype]) -> list[str]:
        """The statements that free these columns; none if one of them has no such statements."""
        freed_by = [self.held.freed_by.get(change.there.name, ()) for change in held]
        return list(dict.fromkeys(s for each in freed_by for s in each)) if all(freed_by) else []

    def _changed(self, unfit: Sequence[Retype], before: Sequence[str] = ()) -> str:
        """Statements that convert columns in place or beside, as one transaction.

        Args:
            unfit: The columns.
            before: The statements that come first.
        """
        native, capabilities = self.native_type, self.capabilities
        changed = [change_type(self.target, each, native, capabilities) for each in unfit]
        return _script([*before, *(statement for each in changed for statement in each)])

    def _copied(self, changes: Sequence[Retype]) -> str:
        table, native, held = self.existing, self.native_type, self.held
        script = _script(copy_anew(table, changes, native, self.capabilities, held.declared))
        if not held.copied_whole:
            script = f"{self._definitions()} {script} {NOT_COPIED}"
        return self._without_views(script)

    def _definitions(self) -> str:
        """That what is going to be taken away has to be known first."""
        return f"Keep the definitions of what this takes away first ({self.held.shown_by})."

    def _without_views(self, todo: str) -> str:
        """What is done to the table itself, between dropping the views over it and their return."""
        views = self.held.views
        return f"{_dropped(views)} {todo} {MADE_AGAIN}" if views else todo


def refuse_bound(
    target: TableName,
    views: Mapping[str, Sequence[View]],
    statements: Sequence[str],
    capabilities: Capabilities,
) -> None:
    """Refuse to change columns that views are bound to.

    Args:
        target: The target.
        views: For each column that has to change, its views in the order to drop them.
        statements: What changes the columns and keeps their values.
        capabilities: What the warehouse can do.

    Raises:
        SchemaError: There is such a view.
    """
    bound = {column: each for column, each in views.items() if each}
    if not bound:
        return
    all_views = list(dict.fromkeys(view for each in bound.values() for view in each))
    lines = "; ".join(
        f"{column} under {', '.join(str(view.name) for view in reversed(each))}"
        for column, each in bound.items()
    )
    unbound = (
        f" A view that ends with {capabilities.unbound_view} is not bound to its columns."
        if capabilities.unbound_view
        else ""
    )
    runs = f", which runs {' '.join(f'{each};' for each in statements)}" if statements else "."
    raise SchemaError(
        f"columns have to change that views are bound to: {lines}",
        table=str(target),
        todo=f"{_dropped(all_views)} Run the table again{runs} {MADE_AGAIN}{unbound}",
    )


def _dropped(views: Sequence[View]) -> str:
    """How to drop views, in this order, that are to be made again."""
    shown = " ".join(view.definition_query for view in views)
    return f"Keep the views' text ({shown}), drop them: {' '.join(view.drop for view in views)}"


def _listed(changes: Sequence[Retype]) -> str:
    return "; ".join(
        f"{c.wanted.name} is {c.source} in the source and "
        f"{c.there.native or c.there.type} in the target"
        for c in changes
    )


def _script(statements: Iterable[str]) -> str:
    """The statements as one transaction, to be pasted."""
    return " ".join(f"{each};" for each in ("BEGIN", *statements, "COMMIT"))
