"""Runs a client's statements by Redshift's rules, one at a time."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from deployments.local.redshift_double import wire
from deployments.local.redshift_double.copy.load import copy
from deployments.local.redshift_double.errors import Cut, Refusal, syntax_error, unsupported
from deployments.local.redshift_double.session import Result, Session, Show, literal, now
from deployments.local.redshift_double.sql import ddl, rules, storage_keys
from deployments.local.redshift_double.sql.rewrite import rewrite
from deployments.local.redshift_double.sql.tokens import Statement, split

_BEGIN = re.compile(r"^(BEGIN|START TRANSACTION|START)\b")
_END = re.compile(r"^(COMMIT|END|ROLLBACK|ABORT)\b")
_OUTSIDE = re.compile(r"^(VACUUM|CREATE DATABASE|DROP DATABASE|ALTER TABLE .* APPEND\b)")
_APPEND = re.compile(r"^ALTER TABLE [^ ]+( \. [^ ]+)* APPEND FROM\b")
_REDSHIFT_SETTINGS = re.compile(
    r"^(SET|RESET) (SESSION |LOCAL )?(QUERY_GROUP|WLM_\w+|ANALYZE_THRESHOLD_PERCENT"
    r"|ENABLE_RESULT_CACHE_FOR_SESSION|(DOWNCASE_DELIMITED|ENABLE_CASE_SENSITIVE)_IDENTIFIER)\b"
)
_CREATE_TABLE = re.compile(r"^CREATE TABLE\b")
_REMOVE_DUPLICATES = re.compile(r"\bREMOVE DUPLICATES$")


async def on_query(session: Session, sql: str) -> None:
    """Answers a simple Query message, which may hold several statements.

    As in Redshift, the statements of one message are one transaction unless they say otherwise.

    Raises:
        Cut: A fault ended the connection.
    """
    try:
        statements = list(split(sql))
    except Refusal as refusal:
        started = now()
        await session.fail(refusal)
        session.log(started, sql, f"error {refusal.sqlstate}")
        statements = []
    else:
        if not statements:
            session.client_out.write(wire.pack(b"I"))
    implicit = False
    for statement in statements:
        if len(statements) > 1 and session.status == "I":
            if not (_BEGIN.match(statement.shape) or _OUTSIDE.match(statement.shape)):
                await session.run("BEGIN")
                implicit = True
        elif implicit and _BEGIN.match(statement.shape):
            implicit = False
        if not await run_statement(session, statement):
            break
        implicit = implicit and session.status == "T"
    if implicit and session.status != "I":
        ended = await session.run("COMMIT" if session.status == "T" else "ROLLBACK")
        if ended.error:
            session.send_error(ended.error)
    session.client_out.write(wire.ready(session.status))
    await session.client_out.drain()


async def run_statement(session: Session, statement: Statement) -> bool:
    """Runs one statement, logs it and tells the client; returns whether it went well.

    Raises:
        Cut: A fault ended the connection.
    """
    started, outcome = now(), "cut"
    try:
        fault = session.world.faults.take(statement.text)
        if session.status == "E" and not _END.match(statement.shape):
            error = (await session.run("SELECT 1", Show.ALL)).error
        else:
            if fault:
                await session.meet(fault)
            cut = fault is not None and fault.kind == "cut_after"
            error = (await _perform(session, statement, hidden=cut)).error
            if cut:
                raise Cut
        outcome = f"error {error.sqlstate}" if error else "ok"
        return error is None
    except Refusal as refusal:
        outcome = f"error {refusal.sqlstate}"
        await session.fail(refusal)
        return False
    finally:
        session.log(started, statement.text, outcome)


async def _perform(session: Session, statement: Statement, *, hidden: bool) -> Result:
    """Runs a statement that no fault stopped; the answer is hidden if the connection is cut next.

    Raises:
        Refusal: Redshift would not run it.
    """
    rules.check(statement)
    inside = session.status == "T"
    first = statement.word(0)
    if inside and first == "LOCK" and session.statements_in_transaction:
        raise Refusal("LOCK TABLE must be the first statement of its transaction", "0A000")
    session.statements_in_transaction += inside
    special = _special(statement, inside=inside)
    if special:
        return await special(session, statement)
    text = rewrite(statement, in_transaction=inside)
    if first == "INSERT":
        await session.world.keys.index(session, statement)
    elif _CREATE_TABLE.match(statement.shape):
        session.world.keys.note(session.database, statement)
    if first == "MERGE":
        source = statement.qualified_name(1 + (statement.word(1) == "INTO")) + 1
        name = statement.slice(source, statement.qualified_name(source)).lower()
        check = f"SELECT redshift_double.require_table({literal(name)})"
        (await session.run(check)).require()
    if statement.shape.startswith("ALTER TABLE"):
        await storage_keys.check_drop(session, statement)
        await storage_keys.check_longer(session, statement)
    result = await session.run(text, Show.NOTHING if hidden else Show.ALL)
    if not result.error and _CREATE_TABLE.match(statement.shape):
        await storage_keys.note(session, statement)
    elif not result.error and statement.shape.startswith("ALTER TABLE"):
        await storage_keys.note_encodings(session, statement)
    return result


Special = Callable[[Session, Statement], Awaitable[Result]]


def _special(  # noqa: PLR0911 - a table of commands
    statement: Statement, *, inside: bool
) -> Special | None:
    first = statement.word(0)
    if first == "COPY":
        return copy
    if first == "TRUNCATE" and inside:
        return _truncate
    if _APPEND.match(statement.shape):
        if inside:
            raise Refusal("ALTER TABLE APPEND cannot run inside a transaction block", "25001")
        return _append
    if first == "MERGE" and _REMOVE_DUPLICATES.search(statement.shape):
        return _merge_remove_duplicates
    if ddl.is_storage_only(statement):
        return _accept
    if _REDSHIFT_SETTINGS.match(statement.shape):
        return _accept_setting
    return None


async def _accept(session: Session, statement: Statement) -> Result:
    await storage_keys.note_encodings(session, statement)
    session.complete(" ".join(statement.word(i) for i in range(2)))
    return Result()


async def _accept_setting(session: Session, statement: Statement) -> Result:
    last = statement.tokens[-1].text.lower()
    if "CASE_SENSITIVE" in statement.shape and last in {"on", "true", "1"}:
        raise unsupported("case-sensitive names, in this double,")
    session.complete(statement.word(0))
    return Result()


async def _truncate(session: Session, statement: Statement) -> Result:
    """TRUNCATE commits the transaction it stands in."""
    result = await session.run(rewrite(statement, in_transaction=True), Show.ALL)
    if not result.error:
        await session.run("COMMIT")
    return result


async def _append(session: Session, statement: Statement) -> Result:
    """ALTER TABLE t APPEND FROM s moves the rows and leaves s empty."""
    target_end = statement.qualified_name(2)
    source = target_end + 2
    source_end = statement.qualified_name(source)
    words = {statement.word(i) for i in range(source_end, len(statement.tokens))}
    if words - {"IGNOREEXTRA", "FILLTARGET"} or len(words) > 1:
        raise syntax_error(statement.slice(source_end, len(statement.tokens)).lower())
    names = statement.slice(2, target_end).lower(), statement.slice(source, source_end).lower()
    arguments = ", ".join(literal(name) for name in names)
    extra, fill = "IGNOREEXTRA" in words, "FILLTARGET" in words
    result = (
        await session.run(f"SELECT redshift_double.append({arguments}, {extra}, {fill})")
    ).require()
    session.complete(
        "ALTER TABLE APPEND",
        f'ALTER TABLE APPEND "{names[0]}" from "{names[1]}" is complete, '
        f"{result.rows[0][0]} rows moved",
    )
    return result


async def _merge_remove_duplicates(session: Session, statement: Statement) -> Result:
    """MERGE ... REMOVE DUPLICATES: the source's rows replace the ones they match."""
    target = 1 + (statement.word(1) == "INTO")
    target_end = statement.qualified_name(target)
    source = target_end + 1
    source_end = statement.qualified_name(source)
    on = next(i for i in range(source_end, len(statement.tokens)) if statement.word(i) == "ON")
    folded = next(split(rewrite(statement, in_transaction=False)))
    names = folded.slice(target, target_end), folded.slice(source, source_end)
    alias = folded.slice(source_end, on)
    condition = folded.slice(on + 1, len(folded.tokens) - 2)
    own = session.status == "I"
    if own:
        await session.run("BEGIN")
    quoted = [literal(name) for name in names]
    result = Result()
    try:
        for sql in (
            f"SELECT redshift_double.require_table({quoted[1]})",
            f"SELECT redshift_double.require_same_columns({', '.join(quoted)})",
            f"DELETE FROM {names[0]} USING {names[1]} {alias} WHERE {condition}",  # noqa: S608
            f"INSERT INTO {names[0]} SELECT DISTINCT * FROM {names[1]}",  # noqa: S608
        ):
            result = (await session.run(sql)).require()
    except Refusal:
        if own:
            await session.run("ROLLBACK")
        raise
    if own:
        await session.run("COMMIT")
    session.complete("MERGE")
    return result
