from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blocks.sources.sqlite.shop import SQLiteShop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SQLiteShop]:
    shop = SQLiteShop(tmp_path / "a shop?#.sqlite")
    with contextlib.closing(shop.connection):
        yield shop
