"""Errors that say which block they came from, as `mysql-source/billing`.

A run may use several blocks, and a run over many tables dozens; "the server refuses the password"
is of use only with the name of the block that has it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import wraps
from typing import Any, ClassVar, Self

from prefect.blocks.core import Block

from ferry.errors import ConfigurationError, FerryError

_OF_THE_DOCUMENT = ("_block_document_id", "_block_document_name", "_is_anonymous")
"""What Prefect writes beside the fields of a block that was saved, and takes for no field."""


class NamedBlock(Block):
    """A block whose operations name it in every error of Ferry's that leaves them.

    The operations are the public methods of the classes right below this one: what a source, a
    stage, a warehouse or a session can do.
    """

    _operations: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **fields: Any) -> None:
        """A block of these fields.

        Raises:
            ConfigurationError: A field that there is not. Prefect would keep it and say nothing,
                and the one that was meant would have its default.
            ValidationError: A field that is missing, or of another type.
        """
        own = {name: value for name, value in fields.items() if name not in _OF_THE_DOCUMENT}
        if unknown := [name for name in own if name not in self._known()]:
            raise _no_such_fields(type(self), unknown)
        super().__init__(**own)

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """The block that is stored, without fields that are another version's."""
        if isinstance(obj, Mapping):
            obj = {name: value for name, value in obj.items() if name in cls._known()}
        return super().model_validate(obj, **options)

    @classmethod
    def _known(cls) -> set[str]:
        return {*cls.model_fields, "block_type_slug"}  # Prefect writes the kind beside the fields

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {name: each for name, each in vars(cls).items() if inspect.isfunction(each)}
        operations = [base._operations for base in cls.__bases__ if issubclass(base, NamedBlock)]
        if NamedBlock in cls.__bases__:
            operations.append(frozenset(name for name in own if not name.startswith("_")))
        cls._operations = frozenset().union(*operations)
        for name in cls._operations & set(own):
            if not getattr(own[name], "__isabstractmethod__", False):
                setattr(cls, name, _naming(own[name]))

    @property
    def slug(self) -> str | None:
        """The block's type and name; None if it was neither saved nor loaded."""
        name = self._block_document_name
        return f"{type(self).get_block_type_slug()}/{name}" if name else None


def _no_such_fields(kind: type[Block], unknown: Sequence[str]) -> ConfigurationError:
    """The error for fields that a kind of block has not; their values are not told."""
    close = [f for name in unknown for f in get_close_matches(name, kind.model_fields, n=1)]
    return ConfigurationError(
        f"{kind.__name__} has no field {', '.join(map(repr, unknown))}",
        expected=f"perhaps {', '.join(map(repr, close))}" if close else None,
        todo=f"Its fields are {', '.join(kind.model_fields)}.",
    )


def _naming(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The method, whose errors say where they came from; of its kind: generator or context too."""
    if inspect.isgeneratorfunction(operation):

        @wraps(operation)
        def read(self: NamedBlock, *args: Any, **kwargs: Any) -> Iterator[Any]:
            with naming(self):
                yield from operation(self, *args, **kwargs)

        return read
    if inspect.isgeneratorfunction(inspect.unwrap(operation)):

        @wraps(operation)
        @contextmanager
        def enter(self: NamedBlock, *args: Any, **kwargs: Any) -> Iterator[Any]:
            with naming(self), operation(self, *args, **kwargs) as entered:
                yield entered

        return enter

    @wraps(operation)
    def call(self: NamedBlock, *args: Any, **kwargs: Any) -> Any:
        with naming(self):
            return operation(self, *args, **kwargs)

    return call


@contextmanager
def naming(block: NamedBlock) -> Iterator[None]:
    """Let every error that passes name the block, unless it names one already."""
    try:
        yield
    except FerryError as error:
        error.at(block=block.slug)
        raise
