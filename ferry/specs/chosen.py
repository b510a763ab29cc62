"""Which tables a run was asked for, by its parameters `table` and `tables`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from ferry.bounded import first_of
from ferry.errors import RequestError
from ferry.specs.tables import TableSpec
from ferry.specs.tables_file import TableSpecs

ALL = "all"
"""What a run is given that is to take every table."""

_TAKEN = {ALL, "true", "false", "null"}
"""Names that, as a run's parameter, stand for something else than the table of that name: for every
table, or, to Prefect's command line, for a value of JSON."""

MAX_NAMES = 5
"""A run's name has so many of its tables'."""


def asked_as(spec: TableSpec) -> str:
    """How a shell asks a run for this table and no other, as in a command that is shown."""
    return shlex.quote(str(spec.target) if spec.name in _TAKEN else spec.name)


def full_copy(spec: TableSpec) -> str:
    """The command that copies all of the table, and what that takes away, for a message's end."""
    return (
        f"prefect deployment run 'sync-table/on-demand' --param table={asked_as(spec)} "
        "--param mode=full. It also takes out of the target what the source has no more."
    )


def are_all(tables: str | Sequence[str]) -> bool:
    """Whether these names ask for every table."""
    return ALL in _names(tables)


def may_write(spec: TableSpec, tables: str | Sequence[str]) -> bool:
    """Whether rows of this table may be carried for these names.

    Another tool may fill one of `every: never`: it is carried for its own name, not for `all`.
    """
    named = any(name in (spec.name, str(spec.target)) for name in _names(tables))
    return named or spec.every != "never"


def chosen_specs(
    specs: TableSpecs, tables: str | Sequence[str], parameter: str = "table"
) -> list[TableSpec]:
    """The specs of the tables that were asked for, each once.

    Args:
        specs: All specs.
        tables: What was asked for.
        parameter: The flow's parameter by which it was, for messages.

    Raises:
        RequestError: There is no such table, none is named, or several in one text.
    """
    for name in _names(tables):
        if "," in name:  # no table's name has one
            raise _no_list(name, parameter)
    if are_all(tables):
        for name in _names(tables):
            if name != ALL:
                specs.named(name)
        return list(specs.values())
    if not tables:
        raise RequestError(
            "no table is named",
            expected="a table, several, or all",
            todo=f"Correct the parameter `{parameter}`.",
        )
    return list({spec.name: spec for spec in map(specs.named, _names(tables))}.values())


def _no_list(text: str, parameter: str) -> RequestError:
    """Why several names in one text are no list, and how one is written."""
    names = [part for part in (each.strip(" []\"'") for each in text.split(",")) if part]
    meant = json.dumps(names)
    return RequestError(
        f"{text!r} is one text, and no table's name",
        expected=f"several tables as a list, {meant}",
        todo=f"On the command line: --param '{parameter}={meant}'; in the form: a list, with each "
        "table in a field of its own.",
    )


def some_names(tables: str | Sequence[str]) -> str:
    """The tables that were asked for, in the name of the run."""
    return ", ".join(first_of(_names(tables), MAX_NAMES))


def _names(tables: str | Sequence[str]) -> Sequence[str]:
    return [tables] if isinstance(tables, str) else tables
