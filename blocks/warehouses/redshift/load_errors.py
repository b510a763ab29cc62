"""Why a COPY did not load: Redshift's own tables of load errors, and what it says of Parquet.

Told without the values.

https://docs.aws.amazon.com/redshift/latest/dg/SYS_LOAD_ERROR_DETAIL.html
https://docs.aws.amazon.com/redshift/latest/dg/r_STL_LOAD_ERRORS.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import psycopg2

from blocks.postgres.errors import without_quotes
from blocks.warehouse import Warehouse
from ferry.errors import DataError, FatalError, SchemaError
from ferry.statements import PARAM, Statement
from ferry.target.value_advice import CORRECT, NO_SUCH_TEXT, TOO_LONG, json_as_text

# SYS_… is on clusters and serverless, STL_… on clusters only.
# The raw line and field stand there too; they are never read.
_LOAD_ERRORS = (
    f"""
SELECT file_name, line_number, column_name, column_type, error_code, error_message
FROM sys_load_error_detail
WHERE session_id = {PARAM} AND start_time >= {PARAM}
ORDER BY start_time DESC
LIMIT 1
""",  # noqa: S608
    f"""
SELECT filename, line_number, colname, type, err_code, err_reason
FROM stl_load_errors
WHERE session = {PARAM} AND starttime >= {PARAM}
ORDER BY starttime DESC
LIMIT 1
""",  # noqa: S608
)


def load_error(redshift: Warehouse, session: tuple[int, datetime]) -> DataError | None:
    """What the tables tell about a COPY, or None: file, line, column, type and reason.

    Args:
        redshift: Where it failed; asked over another connection, as that one has rolled back.
        session: The process id of its session, and the server's time before it.
    """
    for query in _LOAD_ERRORS:
        try:
            found = redshift.fetch(Statement(query, session))
        except FatalError:  # no such view here, or not granted: the other one may tell
            continue
        if found:
            file, line, column, native, code, reason = (str(each).strip() for each in found[0])
            return DataError(
                "the warehouse cannot hold a value",
                found=f"file {file.rpartition('/')[2]}, line {line}, column {column} ({native}): "
                f"{_reason(reason)} (error {code})",
                todo=_advice(code, column, native),
            )
    return None


_SCAN = re.compile(r"Spectrum Scan Error.*?\bcode: +(1500[17])\b", re.DOTALL)
_COLUMN = re.compile(r"column '([^'\n]+)'")


def parquet_misfit(error: psycopg2.Error, columns: Sequence[str]) -> SchemaError | None:
    """That a Parquet file's column does not fit the table's, or None if it is something else.

    DETAIL alone tells so, cut short: often the column is not told. To be called before
    `ferry_error`, which takes the texts away, and to be raised if nothing else explains the error:
    Redshift has the same codes for files that it may not read.
    https://github.com/aws/amazon-redshift-python-driver/issues/107

    Args:
        error: What COPY answered.
        columns: The columns that are loaded; no other name is shown.
    """
    text = f"{error.diag.message_primary or ''}\n{error.diag.message_detail or ''}"
    code = _SCAN.search(text)
    if not code:
        return None
    told = named[1] if (named := _COLUMN.search(text)) else ""  # or a file's name, a dot, and it
    column = next((c for c in columns if told == c or told.endswith(f".{c}")), None)
    return SchemaError(
        "a Parquet file's column does not fit the table's",
        found=f"column {column}, error {code[1]}" if column else f"error {code[1]}",
        todo="Set stage_format to csv in the table's spec.",
    )


def _advice(code: str, column: str, native: str) -> str:
    """What to do, by the error's code: the table is Ferry's, as wide as the source allows.

    https://docs.aws.amazon.com/redshift/latest/dg/r_Load_Error_Reference.html
    """
    if code == "1204" and native.startswith(("varchar", "character", "varb", "binary")):
        return TOO_LONG
    if code == "1224":  # no SUPER
        return json_as_text(column)
    return NO_SUCH_TEXT if code in {"1218", "1219", "1220"} else CORRECT


def _reason(text: str) -> str:
    """`Invalid digit, Value …, Pos 0, Type: Integer`: why a value did not fit, without it."""
    text = re.sub(r"(?<!Type): .*", "", without_quotes(text))
    return re.sub(r"0x[0-9a-fA-F]+", "…", text)
