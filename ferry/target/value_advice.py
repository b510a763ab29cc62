"""What to do about a value that a warehouse cannot hold: the advice for each cause, said once."""

from __future__ import annotations

EXCLUDE = (
    "`exclude` the column in the table's spec (and, where the target has it, drop it there or, "
    "except in mode full, name it in `target_only`)"
)
"""With what the next run is refused without: values that nobody carries would get old there."""

BECOMES_TEXT = "where the target has it already, the next run says how it becomes text"
CORRECT = "Correct the value in the source."
CORRECT_OR_WIDEN = "Correct the value in the source, or widen the column."
NO_SUCH_TEXT = (
    f"Correct it in the source, {EXCLUDE}, or read a view that "
    "replaces such characters: no column of any width holds them."
)
NOT_IN_ITS_ENCODING = (
    f"Load into a database in UTF8, which holds every character; or {EXCLUDE}, or "
    "read a view that replaces what the database's encoding has not."
)
TOO_LONG = (
    f"Shorten it in the source, {EXCLUDE}, or read a view that cuts "
    "it: the warehouse has no longer type."
)
CORRECT_LONG_JSON = (
    f"Correct it in the source, or {EXCLUDE}: as text it would be "
    "longer than the warehouse can hold."
)


def json_as_text(column: str = "…") -> str:
    """What to do about JSON that the warehouse would refuse, or change."""
    return (
        f"Correct it in the source, say `as_text: [{column}]` in the table's spec to carry JSON as "
        f"the text that it is ({BECOMES_TEXT}), or {EXCLUDE}."
    )
