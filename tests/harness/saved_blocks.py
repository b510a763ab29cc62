"""Blocks of a test's own, saved as `Block.save` does it, in a tenth of its time.

Prefect computes a block's JSON schema, always the same, for every field of every block that is
saved, and registers its class anew each time: more than half of what a short test of a flow cost.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

from prefect.blocks.core import Block
from prefect.client.schemas.objects import BlockDocument

from blocks import registry

_registered: dict[type[Block], UUID] = {}
"""The ids under which the server has the classes; a test's own server gives them others."""

_kept: list[tuple[str, tuple[Block, ...]]] = []
"""Of each `kept_here` that holds, its name and blocks."""

_made_anew = Block.model_json_schema.__func__  # type: ignore[attr-defined]  # of the class


def save(block: Block, name: str) -> None:
    """Save the block on the server that all tests share; its class is registered once."""
    kind = type(block)
    with patch.object(Block, "model_json_schema", classmethod(_schema)):
        _register(kind)
        with patch.object(kind, "register_type_and_schema"):
            block.save(name, overwrite=True)  # Prefect's client asks again when an answer is lost


@contextmanager
def registered_once() -> Iterator[None]:
    """Let each class be registered once on the server that all share, whoever saves blocks."""
    register = Block.register_type_and_schema.__func__  # type: ignore[attr-defined]

    def once(kind: type[Block], /, **_: Any) -> None:
        if _is_new(kind):
            register(kind, _sync=True)
            _note(kind)

    with (
        patch.object(Block, "model_json_schema", classmethod(_schema)),
        patch.object(Block, "register_type_and_schema", classmethod(once)),
    ):
        yield


@contextmanager
def kept_here(name: str, *blocks: Block) -> Iterator[None]:
    """Let these be all the blocks there are, on no server, and what is saved under that name.

    Other processes do not know them, unless they are given what `kept_now` tells.
    """
    kept = {type(block): _stored(block, name) for block in blocks}
    save = Block.save

    def answer(kinds: Sequence[type[Block]], names: set[str]) -> list[BlockDocument]:
        return [kept[kind] for kind in kinds if kind in kept and name in names]

    def keep(block: Block, given: str | None = None, **kwargs: Any) -> Any:
        if given != name:
            return save(block, given, **kwargs)
        kept[type(block)] = _stored(block, name)
        return None

    with patch.object(registry, "_read", answer), patch.object(Block, "save", keep):
        _kept.append((name, blocks))
        try:
            yield
        finally:
            _kept.pop()


def kept_now() -> tuple[str, tuple[Block, ...]] | None:
    """The name and the blocks that are kept here, for another process to keep them, too."""
    return _kept[-1] if _kept else None


def _stored(block: Block, name: str) -> BlockDocument:
    """What the server would answer of the block, if it had been saved."""
    kind = type(block)
    if kind._block_type_id is None:  # no server has it, and none is asked
        kind._block_type_id, kind._block_schema_id = uuid4(), uuid4()
    with patch.object(Block, "model_json_schema", classmethod(_schema)):
        document = block._to_block_document(name, include_secrets=True)
    document.block_type = block._to_block_type()
    return document


def _register(kind: type[Block]) -> None:
    if _is_new(kind):
        kind.register_type_and_schema()
        _note(kind)


def _is_new(kind: type[Block]) -> bool:
    return kind not in _registered or _registered[kind] != kind._block_type_id


def _note(kind: type[Block]) -> None:
    assert kind._block_type_id is not None
    _registered[kind] = kind._block_type_id


@cache
def _schema_of(kind: type[Block], by_alias: bool) -> bytes:
    return pickle.dumps(_made_anew(kind, by_alias=by_alias))


def _schema(kind: type[Block], by_alias: bool = True) -> dict[str, Any]:
    """Each time another one, which may be changed; a seventh of what `deepcopy` takes."""
    schema: dict[str, Any] = pickle.loads(_schema_of(kind, by_alias))
    return schema
