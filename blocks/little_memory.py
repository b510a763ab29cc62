"""What is set in a process that carries tables, so that it holds little memory."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.abc import MetaPathFinder
from types import ModuleType

import pyarrow as pa

_MALLOPT = {
    "M_TRIM_THRESHOLD": (-1, 1 << 20),
    "M_MMAP_THRESHOLD": (-3, 1 << 20),
    "M_ARENA_MAX": (-8, 2),
}
"""As `malloc.h` of glibc numbers them, and what they are set to."""


def hold_little_memory() -> None:
    """Give back what was freed, and let Arrow do without pandas. Done again, it changes nothing."""
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keep 30 to 60 MB of freed pages
    _give_back()
    _without_pandas()


def _give_back() -> None:
    """Let glibc share two heaps among all threads, and give large blocks back once they are freed.

    By itself it makes a heap for each thread, and keeps ever larger blocks in them for their next
    use: 15 to 20 MB. Where there is another libc, nothing is set.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _MALLOPT.values():
            mallopt(option, value)


def _without_pandas() -> None:
    """Let Arrow ask for pandas now, while it cannot be found.

    Of the first value of Python that it converts, Arrow asks whether it is pandas', and imports
    pandas to know: 41 MB. It asks once, and takes a no for an answer. `to_pandas` and
    `Table.from_pandas` import it all the same.
    """
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _WithoutPandas)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(_WithoutPandas)


class _WithoutPandas(MetaPathFinder):
    @staticmethod
    def find_spec(name: str, *_others: object) -> None:
        """Refuse pandas, and leave any other module to the finders that follow."""
        if name == "pandas":
            raise ModuleNotFoundError("not while Arrow asks for it", name=name)


_AWS = "prefect_aws"
_WORKERS = f"{_AWS}.workers"


@contextmanager
def without_ecs_worker() -> Iterator[None]:
    """Let the block import `prefect_aws` without its worker for ECS, which no flow run needs.

    The package imports it by itself, with aiohttp, aiobotocore and Prefect's own workers: 11 MB,
    and a fifth of the seconds that the flows' imports take. Whoever asks the package for it then
    gets it; until somebody does, Prefect in this process knows no workers of type `ecs`, which its
    commands for workers and pools ask for in processes of their own. Where the package is imported
    already, nothing is done.
    """
    if _AWS in sys.modules:
        yield
        return
    nothing = ModuleType(_WORKERS)
    nothing.ECSWorker = None  # type: ignore[attr-defined]
    sys.modules[_WORKERS] = nothing
    try:
        yield
    finally:
        del sys.modules[_WORKERS]
    package = sys.modules[_AWS]
    for name in ("ECSWorker", "workers"):
        vars(package).pop(name, None)
    vars(package).setdefault("__getattr__", _of_the_workers)


def _of_the_workers(name: str) -> object:
    """What `prefect_aws` has besides, as it would have been there from the beginning."""
    if name == "workers":
        return import_module(_WORKERS)
    if name == "ECSWorker":
        return import_module(_WORKERS).ECSWorker
    raise AttributeError(f"module {_AWS!r} has no attribute {name!r}")
