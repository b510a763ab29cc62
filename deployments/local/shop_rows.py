"""The rows of the shop: made from their numbers and a seed, so that they are always the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SEED = 20230101
_BATCH_ROWS = 100_000
_DAY = 86_400_000_000  # microseconds

STATUSES = ("new", "paid", "shipped", "returned", "cancelled")
CURRENCIES = ("EUR", "USD", "GBP", "BRL", "JPY")

# What text in the wild holds: nothing, quotes, separators, line ends, backslashes, words that
# mean NULL to somebody, and characters of two, three and four bytes.
COMMENTS = (
    "",
    " ",
    'He said "leave it at the door", and so we did.',
    "It's fine; two parcels, one address",
    "first line\nsecond line\r\nthird line",
    "comma, semicolon; tab\tpipe| and a backslash \\ at the end \\",
    "NULL",
    "\\N",
    "null, None, NaN and N/A are words as well",
    "Grüße aus Köln, schöne Straße",
    "配達は午後にお願いします",
    "Great service 👍🏽 would buy again 🎁🚀",
    "عند الباب من فضلك",
    "'; DROP TABLE orders; --",
    "100 % wool, 50 €/m², 30 °C",
    "Please deliver between nine and noon, the bell is broken, knock at the window on the left.",
    "Second order this month. The last parcel was left in the rain; please use the box this time.",
    "x" * 500,
    "A gift for my mother: no invoice inside, a card with best wishes, and red paper if you can.",
    "Invoice to the company, parcel to the private address. VAT number as in the last order.",
)


@dataclass(frozen=True)
class Span:
    """Whole days in which rows were made.

    Attributes:
        start: The first day.
        days: How many days, the first included.
    """

    start: date = date(2023, 1, 1)
    days: int = 31

    @property
    def start_us(self) -> int:
        """Its begin in microseconds since 1970."""
        return self.at(0)

    @property
    def length_us(self) -> int:
        """Its length in microseconds."""
        return self.days * _DAY

    def at(self, day: int) -> int:
        """The begin of its day number `day` in microseconds since 1970."""
        begin = datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)
        return int((begin + timedelta(days=day)).timestamp()) * 1_000_000


def nps(rows: int, span: Span, seed: int = 0) -> Iterator[pa.RecordBatch]:
    """The rows of `nps` in the order of their ids, 1 to `rows`, in batches.

    Args:
        rows: How many.
        span: Where ``created_at`` lies, evenly spread and never falling.
        seed: Another number makes other rows.

    Yields:
        id int64, created_at timestamp[s], score int8 with 2 % NULL.
    """
    for first, count, rng in _batches(rows, seed, table=1):
        ids = np.arange(first, first + count)
        score = rng.integers(0, 11, count)
        yield pa.record_batch(
            {
                "id": pa.array(ids + 1, pa.int64()),
                "created_at": _timestamps(_spread(ids, rows, span, rng)).cast(
                    pa.timestamp("s"), safe=False
                ),
                "score": pa.array(score, pa.int8(), mask=rng.random(count) < 0.02),
            }
        )


def orders(rows: int, span: Span, seed: int = 0, first_id: int = 1) -> Iterator[pa.RecordBatch]:
    """The rows of `orders` in the order of their ids, in batches.

    One in ten was changed after it was made, two in a hundred were deleted (then ``modified``
    equals ``deleted``); all of that happened within the span.

    Args:
        rows: How many.
        span: Where ``created_at`` lies, evenly spread and never falling.
        seed: Another number makes other rows.
        first_id: The id of the first row.

    Yields:
        The eleven columns; amount decimal128(12, 2), times timestamp[us], text with the traps of
        `COMMENTS`, a tenth of it NULL.
    """
    comments = pa.array(COMMENTS)
    for first, count, rng in _batches(rows, seed, table=2):
        numbers = np.arange(first, first + count)
        created = _spread(numbers, rows, span, rng)
        left = span.start_us + span.length_us - 1 - created
        later = created + (left * rng.random(count)).astype(np.int64)
        chance = rng.random(count)
        deleted = chance < 0.02
        modified = np.where(chance < 0.12, later, created)
        shipped = created + rng.integers(1, 6, count) * _DAY
        picks = rng.integers(0, len(COMMENTS), count)
        yield pa.record_batch(
            {
                "id": pa.array(numbers + first_id, pa.int64()),
                "customer_id": pa.array(rng.integers(1, 50_000, count), pa.int32()),
                "status": _pick(rng, STATUSES, count),
                "amount": _cents(rng.integers(-5_000, 200_000, count)),
                "currency": _pick(rng, CURRENCIES, count),
                "comment": comments.take(pa.array(picks, mask=rng.random(count) < 0.1)),
                "is_gift": pa.array(rng.random(count) < 0.2).cast(pa.int8()),
                "shipped_on": pc.if_else(
                    pa.array(rng.random(count) < 0.3),
                    None,
                    _timestamps(shipped).cast(pa.date32(), safe=False),
                ),
                "created_at": _timestamps(created),
                "modified": _timestamps(modified),
                "deleted": pc.if_else(pa.array(deleted), _timestamps(later), None),
            }
        )


def _batches(rows: int, seed: int, table: int) -> Iterator[tuple[int, int, np.random.Generator]]:
    """First row, row count and random numbers of each batch, independent of the other batches."""
    for number, first in enumerate(range(0, rows, _BATCH_ROWS)):
        rng = np.random.default_rng([_SEED, seed, table, number])
        yield first, min(_BATCH_ROWS, rows - first), rng


def _spread(
    numbers: np.ndarray[tuple[int], np.dtype[np.int64]],
    rows: int,
    span: Span,
    rng: np.random.Generator,
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A moment for each row: the span cut into `rows` pieces, one moment out of each."""
    places = (numbers + rng.random(len(numbers))) / rows
    moments: np.ndarray[tuple[int], np.dtype[np.int64]] = span.start_us + np.minimum(
        (places * span.length_us).astype(np.int64), span.length_us - 1
    )
    return moments


def _timestamps(microseconds: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Array:
    return pa.array(microseconds, pa.int64()).cast(pa.timestamp("us"))


def _pick(rng: np.random.Generator, words: tuple[str, ...], count: int) -> pa.Array:
    return pa.array(words).take(pa.array(rng.integers(0, len(words), count)))


def _cents(cents: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Array:
    """Amounts of two decimals, exactly: the cents are the decimal's unscaled 128-bit integer."""
    words = np.column_stack([cents, cents >> 63]).astype("<i8")
    return pa.Array.from_buffers(
        pa.decimal128(12, 2), len(cents), [None, pa.py_buffer(words.tobytes())]
    )
