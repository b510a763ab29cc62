"""What a target's own constraints and triggers refuse, and the statements that lift them.

Read from the fields that PostgreSQL sends beside its texts, which no language changes, but for
which side of a foreign key is missing at COMMIT:
https://www.postgresql.org/docs/current/protocol-error-fields.html
"""

from __future__ import annotations

import re

from psycopg2.extensions import Diagnostics

from ferry.statements import quoted

# Where a function's own words are reported: RAISE of PL/pgSQL, die of PL/Perl, and the like.
_FUNCTIONS_OWN = re.compile(r"(^|/)(pl_exec|plperl|pltcl|plpy_\w+|plv8\w*)\.(c|cc)$")
# `PL/pgSQL function lab.guard() line 3 at RAISE`, in most languages. The statement that a function
# ran stands there in quotation marks, with a row's values: `SQL statement "SELECT log('…')"`.
_NAME = r"(?:\"(?:[^\"]|\"\")+\"|[a-z_][a-z0-9_]*)"
_FUNCTIONS_LINE = re.compile(
    rf"(?=.*PL/pgSQL)[\w /,.-]*?((?:{_NAME}\.)?{_NAME}\([^()]*\))[\w /,.-]*"
)


def is_raised(code: str, diag: Diagnostics) -> bool:
    """Whether a function or trigger raised it, whose author's words may hold anything.

    So may the names in what a function makes of a row and then runs: `INSERT INTO orders_FR`.
    """
    built_by_it = code[:2] == "42" and bool(diag.context)
    return code[:2] == "P0" or built_by_it or bool(_FUNCTIONS_OWN.search(diag.source_file or ""))


def explain_raised(code: str, diag: Diagnostics) -> tuple[str, str]:
    """Which function raised it, and what to do.

    Args:
        code: The error's.
        diag: The error's other fields.
    """
    lines = (diag.context or "").split("\n")
    # Of what a function ran the first line tells the statement, and the last one whose trigger.
    found = _FUNCTIONS_LINE.fullmatch(lines[0]) or _FUNCTIONS_LINE.fullmatch(lines[-1])
    todo = (
        "Correct the rows in the source, or have its owner change the function, or run on the "
        "target: ALTER TABLE … DISABLE TRIGGER …;"
    )
    if code == "42501" and not _FUNCTIONS_OWN.search(diag.source_file or ""):
        todo = (
            "Give the block's user the right that the function needs, or have its owner run: ALTER "
            "FUNCTION … SECURITY DEFINER; or, on the target: ALTER TABLE … DISABLE TRIGGER …;"
        )
    return (
        f"the function {found[1]} refuses it" if found else "a function or trigger refuses it",
        todo,
    )


def explain_constraint(
    code: str, message: str, diag: Diagnostics, statement: str
) -> tuple[str, str] | None:
    """Which constraint refuses the rows, and what to do; None if it is another error.

    Args:
        code: The error's.
        message: The server's primary message.
        diag: Its other fields; Redshift has none.
        statement: What was sent; empty if it was COMMIT.
    """
    table = ".".join(quoted(name) for name in (diag.schema_name, diag.table_name) if name)
    if code == "23502" and diag.column_name:
        column = quoted(diag.column_name)
        return (
            f"the target's column {column} takes no NULL",
            "Correct the value in the source, or have the target's owner run: "
            f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL;",
        )
    if code == "23514" and table and not diag.constraint_name:
        return _partition(table, diag)
    if not table or not diag.constraint_name:
        return None
    name = quoted(diag.constraint_name)
    drop = f"have its owner run: ALTER TABLE {table} DROP CONSTRAINT {name};"
    if code in {"23503", "23001"}:
        replaced = code == "23001" or statement.lstrip().upper().startswith("DELETE")
        return _foreign_key(table, name, drop, replaced, message)
    return {
        "23505": (
            f"the constraint {name} of {table} takes no two such rows",
            "Correct them in the source, or name its columns as the `key` in the table's spec, or "
            f"{drop} Of an index alone: DROP INDEX.",
        ),
        "23P01": (
            f"the constraint {name} of {table} takes no two such rows",
            f"Correct them in the source, or {drop}",
        ),
        "23514": (
            f"the constraint {name} of {table} refuses a value",
            f"Correct it in the source, or {drop}",
        ),
    }.get(code)


def _partition(table: str, diag: Diagnostics) -> tuple[str, str]:
    """What to do about rows that no partition takes, or that one of them does not.

    Only the name of the server's function, which no language changes, tells these apart.
    """
    if diag.source_function == "ExecPartitionCheckEmitError":
        return (
            f"{table} is a partition that takes no such rows",
            "Name the table that it is a partition of as the target.",
        )
    default = ".".join(
        quoted(name) for name in (diag.schema_name, f"{diag.table_name}_default") if name
    )
    return (
        f"the target {table} has no partition for some rows",
        f"Have its owner run, for their range or list: CREATE TABLE … PARTITION OF {table} FOR "
        f"VALUES …; or, for whatever has none: CREATE TABLE {default} PARTITION OF {table} "
        "DEFAULT; Then run it again.",
    )


def _foreign_key(table: str, name: str, drop: str, replaced: bool, message: str) -> tuple[str, str]:
    """What to do about a foreign key.

    Args:
        table: The table that has it.
        name: Its name.
        drop: How to do without it.
        replaced: Whether rows that it points to were deleted, as changed ones are.
        message: The server's primary message.
    """
    if replaced:
        return (
            f"the foreign key {name} of {table} points to rows that are replaced",
            "A changed row is deleted and inserted anew, so have its owner run: "
            f"ALTER TABLE {table} ALTER CONSTRAINT {name} DEFERRABLE INITIALLY DEFERRED; "
            "One with ON DELETE RESTRICT has to be dropped, and added without that.",
        )
    if "update or delete" in message:
        return (
            f"the foreign key {name} of {table} points to rows that are gone from here",
            f"Carry {table} first, or correct its rows, or {drop}",
        )
    if "insert or update" in message:
        return (
            f"rows of {table} point to none that its foreign key {name} finds",
            f"Carry the table that it points to first, or {drop}",
        )
    return (
        f"the foreign key {name} of {table} would point to rows that are not there",
        f"Carry both tables, or correct their rows, or {drop}",
    )
