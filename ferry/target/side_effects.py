"""Targets whose rows cannot be replaced without a loss that nobody counts."""

from __future__ import annotations

from collections.abc import Sequence

from ferry.errors import SchemaError
from ferry.schema import TableName


def refuse_side_effects(table: TableName, found: Sequence[str]) -> None:
    """Refuse a target that has any: a changed row is deleted and inserted anew.

    Raises:
        SchemaError: It has. No retry helps.
    """
    if found:
        raise SchemaError(
            "rows of the target cannot be replaced as they have to be",
            table=str(table),
            expected="a table of which DELETE takes rows out, and INSERT puts in what it is given",
            found="; ".join(found),
            todo="Drop what was found, not the table; or make a foreign key NO ACTION DEFERRABLE "
            "INITIALLY DEFERRED, a trigger an AFTER one or, if it fills a column, that column's "
            "DEFAULT, let Ferry's user own the table or bypass its policies, and name the table "
            "under a view in the spec.",
        )
