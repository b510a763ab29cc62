"""Daily prices from a web API of the Yahoo Finance chart kind, read like a table."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger
from pydantic import Field, field_validator

import ferry
from blocks.source import Source
from blocks.sources.batches import conform
from blocks.sources.cursors import cursor_bounds
from blocks.sources.names import carried, no_such_column
from blocks.sources.price_api.answers import Days, SymbolError, read_days
from blocks.sources.price_api.calls import CHART, UNKNOWN_SYMBOL, CallOptions, PriceCalls
from ferry.batch import CursorValue, ExtractQuery
from ferry.errors import DataError, FatalError, IncompleteReadError, RequestError
from ferry.schema import Column, DataType, Kind, TableName, TableSchema, arrow_type

_SYMBOL = re.compile(r"(?=.*[A-Z0-9])[A-Z0-9.^=&_-]{1,32}")
_PRICE = DataType(Kind.FLOAT64)
_COLUMNS = (
    Column("symbol", DataType(Kind.TEXT, max_bytes=32), nullable=False),
    Column("date", DataType(Kind.DATE), nullable=False),
    Column("open", _PRICE, nullable=False),
    Column("high", _PRICE, nullable=False),
    Column("low", _PRICE, nullable=False),
    Column("close", _PRICE, nullable=False),
    Column("volume", DataType(Kind.INT64)),
    Column("created_date", DataType(Kind.TIMESTAMPTZ), nullable=False, read_time=True),
)
_KEY = ("symbol", "date")


class PriceAPISource(Source):
    """A web API that gives the daily prices of symbols, as one table of a fixed shape.

    One call is made for each symbol. What each answer means stands in
    `docs/engines/price-api.md`.

    Example:
        ```python
        from blocks.sources import PriceAPISource
        from ferry.batch import ExtractQuery
        from ferry.schema import TableName

        prices = PriceAPISource(base_url="https://prices.example.com", symbols=["AAPL", "SAP.DE"])
        schema = prices.describe(TableName("", "stock_prices"))
        rows = sum(batch.num_rows for batch in prices.read(ExtractQuery(schema)))
        ```
    """

    _block_type_name = "Price API Source"
    _block_type_slug = "price-api-source"
    _description = "A web API of the Yahoo Finance chart kind that Ferry reads daily prices from."

    base_url: str = Field(
        description="Where the API is: `https://prices.example.com`, without `/v8/finance/chart`, "
        "which is added."
    )
    symbols: list[str] = Field(min_length=1, description="The symbols to read, such as AAPL.")
    user_agent: str = Field(
        default=f"Ferry/{ferry.__version__}", description="How Ferry names itself to the API."
    )
    timeout_seconds: float = Field(
        default=30, gt=0, description="How long to wait for a connection, and for an answer."
    )
    pause_seconds: float = Field(default=0.5, ge=0, description="Wait between two calls.")
    attempts: int = Field(
        default=4, ge=1, description="Calls for one symbol, while the API is busy or silent."
    )
    backoff_seconds: float = Field(
        default=1,
        ge=0,
        description="Wait before the second attempt, where the API names none; then twice that, "
        "and so on, plus up to half of it at random.",
    )
    longest_wait_seconds: float = Field(
        default=60, ge=0, description="Give up when the API wants us to wait longer than this."
    )

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it begins with http:// or https:// and names a host")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("it has no user, password, query or fragment")
        if CHART in f"{parts.path}/":
            raise ValueError(f"it goes without {CHART}, which is added to it")
        return url.rstrip("/")

    @field_validator("symbols")
    @classmethod
    def _are_symbols(cls, symbols: list[str]) -> list[str]:
        names = list(dict.fromkeys(name.strip().upper() for name in symbols))
        if wrong := [name for name in names if not _SYMBOL.fullmatch(name)]:
            raise ValueError(f"not symbols: {', '.join(wrong)}")
        return names

    def describe(self, table: TableName, exclude: Collection[str] = ()) -> TableSchema:
        """The table's columns and key, which are always the same; the API is not called.

        Args:
            table: Any name: the API has one table.
            exclude: Columns to leave out; upper and lower case are one.

        Raises:
            SchemaError: An excluded column is not there, or none is left.
        """
        kept = carried([column.name for column in _COLUMNS], exclude, table)
        columns = tuple(column for column in _COLUMNS if column.name in kept)
        return TableSchema(table, columns, _KEY if kept.issuperset(_KEY) else ())

    def read(self, query: ExtractQuery) -> Iterator[pa.RecordBatch]:
        """The days of trading in the bounds, one batch for each symbol.

        There is no snapshot: each symbol is as it is when it is its turn, which `created_date`
        tells.

        Raises:
            IncompleteReadError: After everything else was read: symbols that the API does not
                know, or whose answer cannot be used.
            DataError: That is so for every symbol.
            RequestError: The cursor is another column than `date`.
            AccessError, ConfigurationError: The API refuses us, or is elsewhere.
            BusyError, ConnectionLostError: A retry may help.
        """
        first, end = _bounds(query)
        refused: dict[str, str] = {}
        without_prices: dict[str, int] = {}
        rows = 0
        with PriceCalls(self._options(), _log) as calls:
            for symbol in self.symbols:
                try:
                    fetched = calls.fetch(symbol, first, end)
                    found = read_days(fetched.body, symbol, fetched.at, first, end)
                except SymbolError as error:
                    refused[symbol] = error.problem
                    continue
                if found.without_prices:
                    without_prices[symbol] = found.without_prices
                yield _batch(query, symbol, found, fetched.at, rows)
                rows += len(found.days)
        if without_prices:
            counts = ", ".join(f"{symbol} {days}" for symbol, days in without_prices.items())
            _log(f"days without all four prices were skipped: {counts}")
        if refused:
            raise _incomplete(refused, len(self.symbols), query.schema.name)

    def bounds(self, table: TableName, column: str) -> tuple[CursorValue, CursorValue] | None:
        """The lowest and highest value of a column, by reading all there is.

        Raises:
            SchemaError: No such column.
            FerryError: As for `read`.
        """
        values = [value for value in self._values(table, column) if value is not None]
        return (min(values), max(values)) if values else None

    def count_uncarried(
        self,
        table: TableName,
        column: str,
        reach: ExtractQuery | None = None,  # noqa: ARG002  # no exchange trades beyond it
    ) -> int:
        """How many rows have NULL in this column, by reading all there is; only volume can."""
        known = self.describe(table).column(column)
        if known and not known.nullable:
            return 0
        return sum(value is None for value in self._values(table, column))

    def now(self) -> datetime:
        """This machine's clock: the API tells none, and its days have long ended."""
        return datetime.now(UTC)

    def estimate_rows(self, query: ExtractQuery) -> int | None:
        """A row for each symbol and day from Monday to Friday; None without both bounds."""
        first, end = _bounds(query)
        if first is None or end is None:
            return None
        # Its days are counted: of 5/7 of each, single days' would come to none, or to seven a week.
        weeks, more = divmod((end - first).days, 7)
        trading = 5 * weeks + sum((first.weekday() + day) % 7 < 5 for day in range(more))
        return trading * len(self.symbols)

    def _values(self, table: TableName, column: str) -> list[Any]:
        schema = self.describe(table)
        if (found := schema.column(column)) is None:
            raise no_such_column(column, table, schema.column_names)
        query = ExtractQuery(TableSchema(table, (found,)))
        return [value for batch in self.read(query) for value in batch.column(0).to_pylist()]

    def _options(self) -> CallOptions:
        return CallOptions(
            base_url=self.base_url,
            user_agent=self.user_agent,
            timeout_seconds=self.timeout_seconds,
            pause_seconds=self.pause_seconds,
            attempts=self.attempts,
            backoff_seconds=self.backoff_seconds,
            longest_wait_seconds=self.longest_wait_seconds,
        )


def _bounds(query: ExtractQuery) -> tuple[date | None, date | None]:
    """The first day to read, and the first after the last."""
    if query.cursor is None:
        return None, None
    if query.cursor.lower() != "date":
        raise RequestError(
            f"prices cannot be read by {query.cursor!r}",
            table=str(query.schema.name),
            expected="the cursor `date`",
            todo="Correct `cursor` in the table's spec.",
        )
    first, end = cursor_bounds(query, _COLUMNS[1])
    assert first is None or isinstance(first, date)
    assert end is None or isinstance(end, date)
    return first, end


def _batch(
    query: ExtractQuery, symbol: str, found: Days, fetched_at: datetime, rows_before: int
) -> pa.RecordBatch:
    columns = query.schema.columns
    same = {"symbol": symbol, "created_date": fetched_at.astimezone(UTC)}
    arrays = []
    for column in columns:
        values = [same.get(column.name) or getattr(day, column.name) for day in found.days]
        arrays.append(pa.array(values, arrow_type(column.type)))
    return conform(arrays, columns, query.schema.name, rows_before)


def _incomplete(refused: dict[str, str], asked: int, table: TableName) -> FatalError:
    reasons = "; ".join(f"{symbol}: {reason}" for symbol, reason in refused.items())
    kind: type[FatalError] = DataError if len(refused) == asked else IncompleteReadError
    todo = "Correct `symbols` of the source block, or run it again if the API was at fault."
    if len(refused) == asked and UNKNOWN_SYMBOL not in refused.values():
        todo = f"Look at `base_url` of the source block: perhaps the API is not there. Else: {todo}"
    return kind(
        f"{len(refused)} of {asked} symbols could not be read ({reasons})",
        table=str(table),
        step="extract",
        todo=todo,
    )


def _log(line: str) -> None:
    """Put a line into the log of the run; into the program's own outside of one."""
    try:
        log = get_run_logger()
    except MissingContextError:
        log = get_logger("ferry.prices")
    log.warning("%s", line)
