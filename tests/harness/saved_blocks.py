"""Blocks of a test's own, saved as `Block.save` does it, in a tenth of its time.

Prefect computes a block's JSON schema, always the same, for every field of every block that is
saved, and registers its class anew each time: more than half of what a short test of a flow cost.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any
from unittest.mock import patch
from uuid import UUID

from prefect.blocks.core import Block

_registered: dict[type[Block], UUID] = {}
"""The ids under which the server has the classes; a test's own server gives them others."""

_made_anew = Block.model_json_schema.__func__  # type: ignore[attr-defined]  # of the class


def save(block: Block, name: str) -> None:
    """Save the block on the server that all tests share; its class is registered once."""
    kind = type(block)
    with patch.object(Block, "model_json_schema", classmethod(_schema)):
        if kind not in _registered or _registered[kind] != kind._block_type_id:
            kind.register_type_and_schema()
            assert kind._block_type_id is not None
            _registered[kind] = kind._block_type_id
        with patch.object(kind, "register_type_and_schema"):
            block.save(name, overwrite=True)  # Prefect's client asks again when an answer is lost


@cache
def _schema_of(kind: type[Block], by_alias: bool) -> dict[str, Any]:
    schema: dict[str, Any] = _made_anew(kind, by_alias=by_alias)
    return schema


def _schema(kind: type[Block], by_alias: bool = True) -> dict[str, Any]:
    return copy.deepcopy(_schema_of(kind, by_alias))
