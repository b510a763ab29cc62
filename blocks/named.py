"""Errors that say which block they came from, as `mysql-source/billing`.

A run may use several blocks, and a run over many tables dozens; "the server refuses the password"
is of use only with the name of the block that has it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ClassVar

from prefect.blocks.core import Block

from ferry.errors import FerryError


class NamedBlock(Block):
    """A block whose operations name it in every error of Ferry's that leaves them.

    The operations are the public methods of the classes right below this one: what a source, a
    stage, a warehouse or a session can do.
    """

    _operations: ClassVar[frozenset[str]] = frozenset()

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
