"""Which rows of a source are marked as deleted, as a condition in its engine's own SQL."""

from __future__ import annotations

from ferry.fingerprints.canonical import item, number
from ferry.fingerprints.dialect import FingerprintDialect
from ferry.schema import NUMBERS, Kind
from ferry.statements import Statement
from ferry.write.deletions import Deletion

_NUMBERS = (Kind.BOOLEAN, *NUMBERS)


def marked_as_deleted(deletion: Deletion, dialect: FingerprintDialect) -> Statement:
    """The condition that a row is marked, never NULL: what `Deletion.condition` says elsewhere.

    Values are compared by their numbers: engines compare text each in its own way, MySQL without
    regard to upper and lower case.
    """
    column = deletion.column
    if deletion.values:
        numbers = (number(item(value), dialect.algorithm) for value in deletion.values)
        ours = dialect.number(dialect.item(column, hashed=False))
        return Statement(f"({ours} IN ({', '.join(map(str, numbers))}))")
    text = dialect.text(column) if column.type.kind in _NUMBERS else ""
    if text:
        return Statement(f"(COALESCE({text}, '0') <> '0')")
    return Statement(f"({dialect.value(column)} IS NOT NULL)")
