"""Blocks by name: the one place that decides which system a name in a spec stands for.

A table spec says `source: shop`. Which system that is, is decided by the block of that name which
is registered with the Prefect server: a SQLite file in the demo, MariaDB on the local stack, MySQL
in production. The specs and the flows stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import BlockDocument
from pydantic import TypeAdapter, ValidationError

from blocks.source import Source
from blocks.sources import SOURCES
from blocks.stage import Stage
from blocks.stages import STAGES
from blocks.warehouse import Warehouse
from blocks.warehouses import WAREHOUSES
from ferry.errors import (
    AccessError,
    ConfigurationError,
    ConnectionLostError,
    FerryError,
    may_pass,
)

B = TypeVar("B", bound=Block)

_IN_ITS_PLACE = (404, 405, 421)
"""What stands before a server that is away answers so: an ingress, a proxy, a page of its own."""


def load_blocks(source: str, stage: str, warehouse: str) -> tuple[Source, Stage, Warehouse]:
    """The blocks of these names, in one request to the server.

    Raises:
        ConfigurationError: There is none of a name, or there are two, or the server does not
            understand what is asked, as one of another version.
        AccessError: Prefect's server refuses to give them.
        ConnectionLostError: It does not answer, or not well, or something else does in its place; a
            retry may help, but where PREFECT_API_URL is wrong.
    """
    stored = _read((*SOURCES, *STAGES, *WAREHOUSES), {source, stage, warehouse})
    return (
        _only("source", SOURCES, source, stored),
        _only("stage", STAGES, stage, stored),
        _only("warehouse", WAREHOUSES, warehouse, stored),
    )


def load_warehouse(name: str) -> Warehouse:
    """The warehouse block of this name; with the errors of `load_blocks`."""
    return _only("warehouse", WAREHOUSES, name, _read(WAREHOUSES, {name}))


def _read(kinds: Iterable[type[Block]], names: Iterable[str]) -> list[BlockDocument]:
    """What the server has stored under these names, of any of these kinds.

    `Block.load` asks for one kind and one name at a time, with a client of its own each time.
    """
    asked: dict[str, Any] = {
        "block_documents": {"name": {"any_": sorted(names)}},
        "block_types": {"slug": {"any_": [kind.get_block_type_slug() for kind in kinds]}},
        "include_secrets": True,
    }
    with get_client(sync_client=True) as client:
        try:
            answer = client.request("POST", "/block_documents/filter", json=asked)
            return TypeAdapter(list[BlockDocument]).validate_python(answer.json())
        except httpx.HTTPStatusError as error:
            raise _refused(error.response.status_code) from error
        except httpx.HTTPError as error:
            raise _not_given(type(error).__name__) from error
        except ValueError:  # its text holds some of the answer, perhaps a secret
            raise _not_given("an answer that is not Prefect's") from None


def _refused(status: int) -> FerryError:
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return AccessError(
            "Prefect's server refuses to give blocks",
            found=f"HTTP {status}",
            todo="Check PREFECT_API_URL, and PREFECT_API_KEY or PREFECT_API_AUTH_STRING of this "
            "worker, and whether it may read blocks there.",
        )
    passes = may_pass(status) or status in _IN_ITS_PLACE
    if httpx.codes.is_client_error(status) and not passes:
        return ConfigurationError(
            "what answers as Prefect's server cannot be asked for blocks",
            found=f"HTTP {status}",
            todo="Correct PREFECT_API_URL of this worker, which ends in /api, or update the "
            "server: its version does not fit the worker's.",
        )
    return _not_given(f"HTTP {status}")


def _not_given(found: str) -> ConnectionLostError:
    return ConnectionLostError(
        "Prefect's server gives no blocks just now",
        found=found,
        todo="See that the server is up and that nothing before it, such as an ingress or a login, "
        "answers in its place. PREFECT_API_URL of this worker has to name it, and ends in /api.",
    )


def _only(role: str, kinds: Sequence[type[B]], name: str, stored: Iterable[BlockDocument]) -> B:
    by_slug = {kind.get_block_type_slug(): kind for kind in kinds}
    found = {
        document.block_type.slug: document
        for document in stored
        if document.name == name and document.block_type and document.block_type.slug in by_slug
    }
    if len(found) > 1:
        raise ConfigurationError(
            f"there are several {role} blocks named {name!r}",
            expected="one",
            found=", ".join(f"{slug}/{name}" for slug in by_slug if slug in found),
            todo="Delete all but one of them: `prefect block delete <slug>/<name>`.",
        )
    for slug, document in found.items():
        try:
            return by_slug[slug]._load_from_block_document(document)
        except RuntimeError as error:  # the stored fields do not validate: its text holds them
            raise _outdated(role, by_slug[slug], name, error) from None
    raise ConfigurationError(
        f"there is no {role} block named {name!r}",
        expected=f"a block {' or '.join(f'{slug}/{name}' for slug in by_slug)}",
        todo="Make shop, lake and warehouse by `python -m deployments.register --profile aws` (and "
        "prices, with FERRY_PRICES_URL and FERRY_PRICES_SYMBOLS set; or take the tables that name "
        "it out of the specs), any other in Prefect's UI, or by a script of yours "
        "(docs/own-database.md).",
    )


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
        todo="Save it again in the way in which it was made (`python -m deployments.register "
        "--profile aws`, or a script of yours), or correct it in Prefect's UI.",
    )
