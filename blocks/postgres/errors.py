"""What PostgreSQL's and Redshift's errors mean, told without the values that their texts hold.

Codes: PostgreSQL's Appendix A. Redshift reports most of its own errors as XX000 and tells them
apart by their text only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg2
import psycopg2.errorcodes

from blocks.postgres.access import REFUSED_CONNECTION, explain_access
from blocks.postgres.causes import cause_of, in_recovery, of_redshift
from blocks.postgres.target_rules import explain_constraint, explain_raised, is_raised
from ferry.errors import (
    AccessError,
    BusyError,
    ConflictError,
    ConnectionLostError,
    DataError,
    FatalError,
    FerryError,
    OutcomeUnknownError,
    SchemaError,
)
from ferry.target.value_advice import (
    CORRECT,
    CORRECT_OR_WIDEN,
    NO_SUCH_TEXT,
    NOT_IN_ITS_ENCODING,
    TOO_LONG,
    json_as_text,
)

WIDEST_VARCHAR = 65_535
"""Redshift's longest VARCHAR, in bytes: a column of it cannot be widened."""

# The texts of these quote names only; every other text is cut where it begins to quote.
_NAMES_ONLY = re.compile(r"23|28|3D000|3F000|42(?!601|883)|55P03|57|40")
# Each language of a server's `lc_messages` has quotation marks of its own.
_MARKS = "\"'«»„“”‚‘’‹›「」『』"  # noqa: RUF001
_BYTES = re.compile(r"\b0x[0-9a-fA-F]+(?: 0x[0-9a-fA-F]+)*")  # of a character of the value
_FROM_FIRST_TO_LAST_QUOTE = re.compile(f"[{_MARKS}].*[{_MARKS}]", re.DOTALL)

# Redshift: "1023" with DETAIL "Serializable isolation violation on table - …" and SQLSTATE XX000
# https://docs.aws.amazon.com/redshift/latest/dg/c_serial_isolation-serializable-isolation-troubleshooting.html
# "1018" with DETAIL "Relation does not exist": a table that was made after the snapshot was taken;
# the next transaction sees it.
# The others: DDL of another session came between; the same statement can take place a moment later.
_CONFLICT = re.compile(
    r"^\s*(error:? *)?10(18|23)\b|serializable isolation violation"
    r"|conflict with concurrent transaction|dropped by concurrent transaction"
    r"|could not open relation with oid|relation with oid \d+ does not exist"
    r"|cache lookup failed|could not find tuple"
    r"|tuple concurrently (updated|deleted)",
    re.IGNORECASE,
)
_SAFE_DETAILS = ("Serializable isolation violation", "Relation does not exist")
_NAMES = re.compile(
    r"\"[^\"]*\"|table '[^']*'|»[^«]*«|«[^»]*»|„[^“”]*[“”]|“[^”]*”|「[^」]*」", re.DOTALL
)
"""A table's own name tells nothing."""
_ENDED = frozenset({"25P03", "25P04"})
"""A time limit ended the session within its transaction."""
_TOO_MANY_COLUMNS = "54011"
_PASSING = frozenset({"57014", "57P03", "55P03", "55006"}) | _ENDED
_OF_VALUES = ("22", "23")
"""Classes of codes whose texts may quote any value, so that words in them tell nothing."""
_BUSY = re.compile(
    r"too many (clients|connections)|connection limit|connection slots|starting up|shutting down"
    r"|slow ?down|Status (0|50[03])\b|RequestTimeout|query (was )?cancell?ed|statement timeout",
    re.IGNORECASE,
)
_ACCESS = re.compile(
    rf"{REFUSED_CONNECTION}|authentication failed"
    r"|permission denied|access ?denied|not authorized|Status 40[0-9]|NoSuchBucket|InvalidAccessKey"
    r"|S3 prefix .* does not exist|reading manifest",
    re.IGNORECASE,
)

_TODO: dict[type[FerryError], str] = {
    AccessError: "Check the block's user, password and certificate settings, and what they are "
    "granted.",
    BusyError: "Try again later; if it comes back, look at locks, queues and time limits.",
    ConflictError: "Repeat the whole transaction.",
    ConnectionLostError: "Try again; if it comes back, check host, port, database and network, "
    "whether the user may log in, and the server's log: a time limit such as "
    "`idle_in_transaction_session_timeout` ends sessions, too.",
    OutcomeUnknownError: "Look the batch up in the receipts before trying again.",
    SchemaError: "Compare the table's columns with what is loaded.",
    DataError: CORRECT,
}
_PROBLEM: dict[type[FerryError], str] = {
    AccessError: "the warehouse refuses access",
    BusyError: "the warehouse is busy",
    ConflictError: "the transaction conflicts with another one",
    ConnectionLostError: "the connection to the warehouse is lost",
    OutcomeUnknownError: "the connection was lost at COMMIT: nobody knows if it took place",
    SchemaError: "the warehouse does not know the table or column, or its type does not fit",
    DataError: "the warehouse cannot hold a value",
    FatalError: "the warehouse refuses the statement",
}


@contextmanager
def translated(*, committing: bool = False, statement: str = "", user: str = "") -> Iterator[None]:
    """Raise what the driver raises as a `FerryError`, chained and free of values.

    Args:
        committing: Whether COMMIT is what runs: if the connection goes then, the outcome is
            unknown.
        statement: What runs, without its parameters: it tells which right was needed.
        user: Who runs it.
    """
    try:
        yield
    except psycopg2.Error as error:
        translation = ferry_error(error, committing=committing, statement=statement, user=user)
        raise translation from error
    except (ValueError, UnicodeError) as error:  # a NUL or half a surrogate pair in a parameter
        kind = type(error).__name__
        raise DataError(
            "a parameter cannot be sent as text",
            found=f"{kind} from the driver",
            todo=NO_SUCH_TEXT,
        ) from _without_values(error, kind)


def ferry_error(
    error: psycopg2.Error, *, committing: bool = False, statement: str = "", user: str = ""
) -> FerryError:
    """The driver's error as one of ours; the driver's own is redacted in place."""
    code = error.pgcode or ""
    message = error.diag.message_primary or str(error)
    detail = error.diag.message_detail or ""
    constraint = error.diag.constraint_name or ""
    raised = is_raised(code, error.diag)
    if raised:  # its author's words may hold anything, and mean nothing here
        message, detail = "an error raised by a function or trigger", ""
    said = _NAMES.sub("", f"{message}\n{detail}")
    kind = _kind(error, code, said, constraint, committing=committing)
    text = _safe(code, message)
    if kind is ConflictError:
        text += "".join(
            f": {each}"
            for each in _SAFE_DETAILS
            if each.lower() in said.lower() and each not in text
        )
    found = f"{text} (SQLSTATE {code})" if code else text
    redact(error, found)
    problem = _PROBLEM[kind]
    todo = _advice(code, message) if kind is DataError else _TODO.get(kind)
    if raised:
        problem, todo = explain_raised(code, error.diag)
    elif kind is DataError:
        problem, todo = explain_constraint(code, message, error.diag, statement) or (problem, todo)
    elif kind in (BusyError, FatalError):
        named = of_redshift(code, said) or cause_of(code, _NAMES.sub("", message))
        problem, todo = named or (problem, todo)
    elif kind is AccessError and (explained := explain_access(message, statement, user)):
        problem, todo = f"{problem}: {explained[0]}", explained[1]
    elif code == _TOO_MANY_COLUMNS:
        problem = "the warehouse takes no table or statement of so many columns"
        todo = "`exclude` some in the table's spec, or carry views of it."
    if _bound_to(code, message):
        todo = "Drop the views that are bound to the column, run it again, make the views again."
    return kind(problem, found=found, todo=todo)


def _bound_to(code: str, text: str) -> bool:
    """Whether something is bound to the column that was to change: a view, as a rule."""
    return code == "2BP01" or (code == "0A000" and "used by a view or rule" in text)


def _advice(code: str, message: str) -> str:
    """What to do about a value that the server refuses, by the cause."""
    if code == "22001":
        return TOO_LONG if f"({WIDEST_VARCHAR})" in message else CORRECT_OR_WIDEN
    if code == "22003":
        return CORRECT_OR_WIDEN
    if code in {"22021", "22P03"}:
        return NO_SUCH_TEXT
    if code == "22P05" and "no equivalent" in message:
        return NOT_IN_ITS_ENCODING
    if code == "22P05" or "type json" in message.partition('"')[0]:
        return json_as_text()
    return CORRECT


def redact(error: psycopg2.Error, text: str) -> None:
    """Put `text` in the place of everything the driver's error says, also when it is pickled."""
    code = error.pgcode
    error.args = (text,)
    # The attributes are read-only, but what unpickling restores can be restored here too
    # (psycopg/error_type.c, error_setstate).
    error.__setstate__({"pgerror": text, "pgcode": code})  # type: ignore[no-untyped-call]


def load_position(error: psycopg2.Error, columns: Sequence[str]) -> str:
    """`line 3, column age` out of the context of a failed COPY; empty if it does not tell.

    The context goes on with the value, so only a number and a known column's name are taken. Most
    languages have it in this order: `COPY stg_nps, Zeile 3, Spalte age: »…«`; JSON is told first.
    To be called before `ferry_error`.
    """
    match = re.match(
        r"(?:[^\n]*\n)??COPY .*?, [^\W\d]+ (\d+)(?:, [^\W\d]+ ([^:\n]+?) ?(?:[:\n]|$))?",
        error.diag.context or "",
        re.DOTALL,
    )
    if match is None:
        return ""
    column = match[2] if match[2] in columns else None
    return f"line {match[1]}, column {column}" if column else f"line {match[1]}"


def _without_values(error: Exception, text: str) -> Exception:
    if isinstance(error, UnicodeEncodeError):
        error.object = ""
        error.args = (error.encoding, "", 0, 0, error.reason)
    else:
        error.args = (text,)
    return error


def _kind(  # noqa: PLR0911 - a table in the order of precedence
    error: psycopg2.Error, code: str, text: str, constraint: str, *, committing: bool
) -> type[FerryError]:
    lost = code[:2] == "08" or code in {"57P01", "57P02", "57P05"} or code == "40003"
    unanswered = not code and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    if committing and (lost or unanswered or code in _ENDED):
        return OutcomeUnknownError
    if lost:
        return ConnectionLostError
    if code in {"40001", "40P01"} or (code[:2] not in _OF_VALUES and _CONFLICT.search(text)):
        return ConflictError
    if code == "23505" and constraint.startswith("pg_"):  # two sessions made one schema or table
        return ConflictError
    if code[:2] == "53" or code in _PASSING or in_recovery(code, text) or of_redshift(code, text):
        return BusyError
    if code[:2] == "28" or code in {"42501", "3D000"}:
        return AccessError
    if _bound_to(code, text):
        return SchemaError
    if code in {"3F000", _TOO_MANY_COLUMNS} or (code[:2] == "42" and code != "42601"):
        return SchemaError
    if code[:2] in {"22", "23"} or code == "54000":
        return DataError
    if unanswered or code == "XX000":
        if _BUSY.search(text):
            return BusyError
        if _ACCESS.search(text):
            return AccessError
    return ConnectionLostError if unanswered else FatalError


def _safe(code: str, message: str) -> str:
    """The message on one line, without anything that could be a value."""
    message = " ".join(message.split())
    if not code or _NAMES_ONLY.match(code):  # without a code: libpq, before anything was sent
        return message
    text = _BYTES.sub("…", without_quotes(message).split(": ")[0])
    if text.replace("…", "").isascii():
        return text
    # Not every translation quotes a value where English does: Georgian begins with a bare number.
    name = "an error"
    with suppress(KeyError):
        name = psycopg2.errorcodes.lookup(code).replace("_", " ").lower()
    return f"{name}, told in another language"


def without_quotes(text: str) -> str:
    """The text without what stands between its first and its last quotation mark.

    A value may have quotation marks of its own, so that pairs of them tell nothing.
    """
    return _FROM_FIRST_TO_LAST_QUOTE.sub("…", text)
