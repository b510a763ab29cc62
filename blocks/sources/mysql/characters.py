"""Characters that the server cannot hand over: found where the server would say nothing, or `?`.

The server converts text to the connection's character set by itself, and puts `?` in the place of
what it has no mapping for: 0x98 in cp1251, 0xA2E3 in gbk, half of a surrogate pair in ucs2 (MySQL).
MariaDB hands over half of a surrogate pair as bytes that are no UTF-8, on which ConnectorX ends.
https://dev.mysql.com/doc/refman/8.4/en/charset-conversion.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from blocks.sources.mysql.types import quote
from ferry.errors import DataError
from ferry.schema import Column, Kind, TableName
from ferry.target.value_advice import EXCLUDE

MASK_BITS = 30
"""How many columns one number of a result tells of."""

_CHARACTER_SET = re.compile(r" character set (\w+)$")


def lossy_columns(columns: Sequence[Column]) -> tuple[int, ...]:
    """Places of the columns whose characters the server may turn into `?`."""
    return tuple(n for n, column in enumerate(columns) if _CHARACTER_SET.search(column.native))


def masks(columns: Sequence[Column], positions: Sequence[int]) -> list[str]:
    """SQL for bit masks that tell, row by row, in which of the columns something was lost."""
    items = []
    for first in range(0, len(positions), MASK_BITS):
        bits = [
            f"({_is_lost(columns[n])}) << {bit}"
            for bit, n in enumerate(positions[first : first + MASK_BITS])
        ]
        items.append(f"({' | '.join(bits)}) AS q{first // MASK_BITS}")
    return items


def _is_lost(column: Column) -> str:
    """Whether the converted text has more `?` than the column has.

    Not a comparison with what is converted back: some sets spell one character in several ways.
    """
    name = quote(column.name)
    text = f"CONVERT({name} USING utf8mb4)"
    return f"COALESCE(LOCATE('?', {text}) > 0 AND {_questions(text)} > {_questions(name)}, 0)"


def _questions(text: str) -> str:
    return f"CHAR_LENGTH({text}) - CHAR_LENGTH(REPLACE({text}, '?', ''))"


def refuse_lost(
    found: Sequence[pa.Array],
    columns: Sequence[Column],
    positions: Sequence[int],
    table: TableName,
    rows: int,
) -> None:
    """Refuse rows in which a character was lost.

    Args:
        found: The masks' values.
        columns: The columns that were read.
        positions: What `lossy_columns` told of them.
        table: The table, for the message.
        rows: How many rows have been read, with these.

    Raises:
        DataError: The message tells the columns and in how many rows.
    """
    counts: dict[str, int] = {}
    for position, n in enumerate(positions):
        bit = pa.scalar(1 << position % MASK_BITS, pa.int64())
        mask = found[position // MASK_BITS].cast(pa.int64())
        count = pc.sum(pc.not_equal(pc.bit_wise_and(mask, bit), pa.scalar(0, pa.int64()))).as_py()
        if count:
            counts[columns[n].name] = count
    if counts:
        raise DataError(
            "the server has no Unicode for some characters, and would put ? in their place",
            table=str(table),
            step="extract",
            expected="characters that can be converted to utf8mb4",
            found=", ".join(f"{count} rows in {name!r}" for name, count in counts.items())
            + f", within the first {rows}",
            todo=f"Correct them in the source, {EXCLUDE}, or, to have ? there, read a view with "
            "CONVERT(… USING utf8mb4).",
        )


def count_invalid(columns: Sequence[Column], from_where: str) -> tuple[list[Column], str]:
    """The columns of text, and a statement that counts the rows of each that are no Unicode.

    Args:
        columns: The columns that were to be read.
        from_where: Where they are: `FROM … WHERE …`.
    """
    texts = [column for column in columns if column.type.kind in (Kind.TEXT, Kind.JSON)]
    sums = ", ".join(f"COALESCE(SUM({_is_invalid(column)}), 0)" for column in texts)
    return texts, f"SELECT {sums} {from_where}"


def _is_invalid(column: Column) -> str:
    name = quote(column.name)
    text = f"CONVERT({name} USING utf8mb4)"
    cleared = f"CONVERT(CONVERT({name} USING utf16) USING utf8mb4)"
    return f"CAST({text} AS BINARY) <> CAST({cleared} AS BINARY)"


def invalid_text(counts: Sequence[tuple[Column, int]], table: TableName, source: str) -> DataError:
    """What to tell about text that is no Unicode.

    Args:
        counts: The columns that have such text, and in how many rows.
        table: The table, for the message.
        source: Its quoted name.
    """
    column, _ = counts[0]
    name = quote(column.name)
    return DataError(
        "there is text that is no Unicode, such as half of a surrogate pair",
        table=str(table),
        step="extract",
        found=", ".join(f"{count} rows in {each.name!r}" for each, count in counts),
        todo=f"Look for it with SELECT * FROM {source} WHERE {_is_invalid(column)}; correct it, "  # noqa: S608
        f"{EXCLUDE}, or read a view with "
        f"CONVERT(CONVERT({name} USING utf16) USING utf8mb4), which has ? there.",
    )
