"""Blocks of a test's own, saved as `Block.save` does it, in a tenth of its time.

Prefect computes a block's JSON schema, always the same, for every field of every block that is
saved, and registers its class anew each time: more than half of what a short test of a flow cost.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch
from uuid import UUID

from prefect.blocks.core import Block
from prefect.client.schemas.objects import BlockDocument

from blocks import registry

_registered: dict[type[Block], UUID] = {}
"""The ids under which the server has the classes; a test's own server gives them others."""

_made_anew = Block.model_json_schema.__func__  # type: ignore[attr-defined]  # of the class


def save(block: Block, name: str) -> None:
    """Save the block on the server that all tests share; its class is registered once."""
    kind = type(block)
    with patch.object(Block, "model_json_schema", classmethod(_schema)):
        _register(kind)
        with patch.object(kind, "register_type_and_schema"):
            block.save(name, overwrite=True)  # Prefect's client asks again when an answer is lost


@contextmanager
def kept_here(name: str, *blocks: Block) -> Iterator[None]:
    """Let these be the blocks of that name, on no server, until one of them is saved.

    Other processes do not know them.
    """
    kept = [_stored(block, name) for block in blocks]
    read, save, saved = registry._read, Block.save, list[str]()

    def answer(kinds: Sequence[type[Block]], names: set[str]) -> list[BlockDocument]:
        there = read(kinds, names) if saved or names - {name} else []
        taken = {each.block_type.slug for each in there if each.name == name and each.block_type}
        wanted = {kind.get_block_type_slug() for kind in kinds} - taken
        ours = [each for each in kept if each.block_type and each.block_type.slug in wanted]
        return [*there, *(each for each in ours if name in names)]

    def to_the_server(block: Block, *args: Any, **kwargs: Any) -> Any:
        saved.append(name)
        return save(block, *args, **kwargs)

    with patch.object(registry, "_read", answer), patch.object(Block, "save", to_the_server):
        yield


def _stored(block: Block, name: str) -> BlockDocument:
    """What the server would answer of the block, if it had been saved."""
    with patch.object(Block, "model_json_schema", classmethod(_schema)):
        _register(type(block))
        document = block._to_block_document(name, include_secrets=True)
    document.block_type = block._to_block_type()
    return document


def _register(kind: type[Block]) -> None:
    if kind not in _registered or _registered[kind] != kind._block_type_id:
        kind.register_type_and_schema()
        assert kind._block_type_id is not None
        _registered[kind] = kind._block_type_id


@cache
def _schema_of(kind: type[Block], by_alias: bool) -> dict[str, Any]:
    schema: dict[str, Any] = _made_anew(kind, by_alias=by_alias)
    return schema


def _schema(kind: type[Block], by_alias: bool = True) -> dict[str, Any]:
    return copy.deepcopy(_schema_of(kind, by_alias))
