"""The sources: a folder per engine; `SOURCES` is the one list of them."""

from blocks.source import Source
from blocks.sources.mysql.source import MySQLSource
from blocks.sources.price_api.source import PriceAPISource
from blocks.sources.sqlite.source import SQLiteSource

__all__ = ["DATABASES", "SOURCES", "MySQLSource", "PriceAPISource", "SQLiteSource"]

DATABASES: tuple[type[Source], ...] = (MySQLSource, SQLiteSource)
"""The engines that hold any table. The contract tests run over all of them."""

SOURCES: tuple[type[Source], ...] = (*DATABASES, PriceAPISource)
"""All that can be read from. A web API has one table of its own, and so tests of its own."""
