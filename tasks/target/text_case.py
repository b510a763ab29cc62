"""Whether the warehouse tells texts apart by their case, asked once for each by a process."""

from __future__ import annotations

from blocks.warehouse import Warehouse
from ferry.errors import ConfigurationError

_tells_case_apart: set[tuple[type[Warehouse], str]] = set()
"""Warehouses that do, by their settings: a backfill asks for its first window alone."""


def refuse_ignored_case(warehouse: Warehouse) -> None:
    """Refuse a warehouse to which `abc` and `ABC` are one text.

    A row would replace that of another key, and a change of case alone would not be seen.

    Raises:
        ConfigurationError: It is such a one. No retry helps.
    """
    known = (type(warehouse), warehouse.model_dump_json())
    if known in _tells_case_apart:
        return
    if warehouse.ignores_case():
        raise ConfigurationError(
            "the warehouse ignores case when it compares text: keys 'abc' and 'ABC' are one to it",
            block=warehouse.slug,
            expected="a database in which 'a' and 'A' differ",
            found="one in which they are equal",
            todo="Load into a database whose collation is case-sensitive.",
        )
    _tells_case_apart.add(known)
