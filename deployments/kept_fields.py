"""What people have set of a block in Prefect's UI, and how it comes through the next registration.

The environment names some of a block's fields. These are registered; what is stored in the others,
as the stage's encryption, stays. A field that is cleared in the UI has its default again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound
from pydantic import BaseModel, ValidationError


@dataclass(frozen=True)
class Merged:
    """A block as it is to be saved.

    Attributes:
        block: The fields that are named, and those that stay.
        notes: What changes, what stays and what does not, by the names of fields, never their
            values.
    """

    block: Block
    notes: tuple[str, ...] = ()


def with_stored(block: Block, name: str) -> Merged:
    """The block, with what is stored under its kind and name in all fields that are not set in it.

    What is stored is replaced whole, and a note says so, if the two do not make a block: it is of
    another version, or its fields do not fit together.

    Args:
        block: Of its fields, and those of the models in it, only what is in `model_fields_set`
            goes before what is stored.
        name: The name that it will be saved under.
    """
    document = _read(type(block), name)
    if document is None:
        return Merged(block)
    try:
        merged = type(block).model_validate(_values(block, document.data))
        copied = list(_refer(merged, document))
    except ValidationError as error:  # its text holds the values
        problems = error.errors(include_input=False, include_context=False, include_url=False)
        fields = ", ".join(".".join(map(str, each["loc"])) for each in problems)
        unfit = f"replaced whole, what was stored does not fit{f' ({fields})' if fields else ''}"
        return Merged(block, (unfit,))
    named = {"changed": _changed(merged, document), "kept as stored": _different(merged, block)}
    notes = [f"{what}: {fields}" for what, each in named.items() if (fields := ", ".join(each))]
    return Merged(merged, (*notes, *copied))


def _changed(merged: Block, document: BlockDocument) -> Iterator[str]:
    """The names of the fields that are another than what is stored, as far as that can be read.

    Who registers another environment's by mistake sees by them that the block leads elsewhere now.
    """
    with suppress(ValidationError):
        yield from _different(merged, type(merged).model_validate(dict(document.data)))


def _read(kind: type[Block], name: str) -> BlockDocument | None:
    with get_client(sync_client=True) as client:
        try:
            return client.read_block_document_by_name(name, kind.get_block_type_slug())
        except ObjectNotFound:
            return None


def _values(model: BaseModel, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are set in the model, and those that are stored, without what is in neither.

    They are merged before they are validated, so that a field that is wrong in what is stored, or
    was not there in its version, costs nothing if it is set.
    """
    values = {each: stored[each] for each in type(model).model_fields if each in stored}
    for each in model.model_fields_set & type(model).model_fields.keys():
        ours, theirs = getattr(model, each), stored.get(each)
        if isinstance(ours, BaseModel) and isinstance(theirs, Mapping):
            values[each] = _values(ours, theirs)
        elif isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            values[each] = _filled(theirs, ours)
        else:
            values[each] = ours
    return values


def _filled(stored: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """No setting of the environment is a dictionary: what is in one of ours is a default."""
    filled = {**defaults, **stored}
    for key in defaults.keys() & stored.keys():
        if isinstance(defaults[key], Mapping) and isinstance(stored[key], Mapping):
            filled[key] = _filled(stored[key], defaults[key])
    return filled


def _refer(merged: Block, document: BlockDocument) -> Iterator[str]:
    """Let the block refer to the blocks that the stored one refers to, if they stay as they are.

    Others may use them, too: one that would be another is copied instead. Yields a note of each.
    """
    for field, reference in document.block_document_references.items():
        other = reference["block_document"]
        ours = getattr(merged, field, None)
        if not isinstance(ours, Block):
            continue
        theirs = type(ours).model_validate(dict(document.data[field]))
        if changed := list(_different(ours, theirs)):
            named = f"{ours.get_block_type_slug()}/{other['name']}"
            yield f"{field} is a copy of {named} now, but for {', '.join(changed)}"
        else:
            ours._block_document_id = UUID(str(other["id"]))


def _different(one: BaseModel, other: BaseModel) -> Iterator[str]:
    """The names of the fields that differ, as `credentials.region_name`."""
    for field in type(one).model_fields:
        a, b = getattr(one, field), getattr(other, field)
        if isinstance(a, BaseModel) and type(a) is type(b):
            yield from (f"{field}.{inner}" for inner in _different(a, b))
        elif a != b:
            yield field
