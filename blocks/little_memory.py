"""What is set in a process that carries tables, so that it holds little memory."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

import pyarrow as pa


def hold_little_memory() -> None:
    """Let Arrow keep nothing that was freed, and do without pandas. To repeat it is harmless."""
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keep 30 to 60 MB of freed pages
    _without_pandas()


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
