"""What to do about a value that a warehouse cannot hold: the advice for each cause, said once."""

from __future__ import annotations

CORRECT = "Correct the value in the source."
CORRECT_OR_WIDEN = "Correct the value in the source, or widen the column."
NO_SUCH_TEXT = (
    "Correct it in the source, `exclude` the column in the table's spec, or read a view that "
    "replaces such characters: no column of any width holds them."
)
NOT_IN_ITS_ENCODING = (
    "Load into a database in UTF8, which holds every character; or `exclude` the column in the "
    "table's spec, or read a view that replaces what the database's encoding has not."
)
TOO_LONG = (
    "Shorten it in the source, `exclude` the column in the table's spec, or read a view that cuts "
    "it: the warehouse has no longer type."
)
CORRECT_LONG_JSON = (
    "Correct it in the source, or `exclude` the column in the table's spec: as text it would be "
    "longer than the warehouse can hold."
)


def json_as_text(column: str = "…") -> str:
    """What to do about JSON that the warehouse would refuse, or change."""
    return (
        f"Correct it in the source, say `as_text: [{column}]` in the table's spec to carry JSON as "
        "the text that it is, or `exclude` the column."
    )
