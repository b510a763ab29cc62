"""Blocks by name: the one place that decides which system a name in a spec stands for.

A table spec says `source: shop`. Which system that is, is decided by the block of that name which
is registered with the Prefect server: a SQLite file in the demo, MariaDB on the local stack, MySQL
in production. The specs and the flows stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from prefect.blocks.core import Block
from pydantic import ValidationError

from blocks.source import Source
from blocks.sources import SOURCES
from blocks.stage import Stage
from blocks.stages import STAGES
from blocks.warehouse import Warehouse
from blocks.warehouses import WAREHOUSES
from ferry.errors import ConfigurationError

B = TypeVar("B", bound=Block)


def load_source(name: str) -> Source:
    """The source block of this name. Raises ConfigurationError if there is none, or two."""
    return _load("source", SOURCES, name)


def load_stage(name: str) -> Stage:
    """The stage block of this name. Raises ConfigurationError if there is none, or two."""
    return _load("stage", STAGES, name)


def load_warehouse(name: str) -> Warehouse:
    """The warehouse block of this name. Raises ConfigurationError if there is none, or two."""
    return _load("warehouse", WAREHOUSES, name)


def _outdated(role: str, kind: type[Block], name: str, error: RuntimeError) -> ConfigurationError:
    fields = (
        [
            ".".join(str(step) for step in detail["loc"])
            for detail in error.__cause__.errors(include_input=False, include_context=False)
        ]
        if isinstance(error.__cause__, ValidationError)
        else []
    )
    return ConfigurationError(
        f"the {role} block {kind.get_block_type_slug()}/{name} does not fit this version of Ferry",
        found=f"missing or wrong fields: {', '.join(fields) or 'unknown'}",
        todo="Register it again with `python -m deployments.register_blocks`, or correct it in "
        "the UI.",
    )


def _load(role: str, kinds: Sequence[type[B]], name: str) -> B:
    found: list[B] = []
    missing: Exception | None = None
    for kind in kinds:
        try:
            loaded = kind.load(name)
        except ValueError as error:  # what Block.load raises when there is none of that name
            missing = error
        except RuntimeError as error:  # what it raises when the stored fields do not validate
            raise _outdated(role, kind, name, error) from None  # its text holds their values
        else:
            assert isinstance(loaded, kind)
            found.append(loaded)
    if len(found) == 1:
        return found[0]
    slugs = [kind.get_block_type_slug() for kind in kinds]
    if found:
        both = [f"{type(block).get_block_type_slug()}/{name}" for block in found]
        raise ConfigurationError(
            f"there are several {role} blocks named {name!r}",
            expected="one",
            found=", ".join(both),
            todo="Delete all but one of them: `prefect block delete <slug>/<name>`.",
        )
    raise ConfigurationError(
        f"there is no {role} block named {name!r}",
        expected=f"a block {' or '.join(f'{slug}/{name}' for slug in slugs)}",
        todo="Register it with `python -m deployments.register_blocks`, or make it in the UI.",
    ) from missing
