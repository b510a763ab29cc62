"""COPY from S3, from the parsed command to the client's answer.

The fast path hands the decompressed bytes to one COPY ... FROM STDIN of PostgreSQL. A thread beside
it looks for decimals that PostgreSQL would round, and for SUPER that may have too long a text. If
either objects, the work is undone to a savepoint and a slower path is taken, down to one that knows
every record's file and line.
"""

from __future__ import annotations

import asyncio

from deployments.local.redshift_double.copy.command import CopyCommand, parse_copy
from deployments.local.redshift_double.copy.files import chunks, has_odd_values
from deployments.local.redshift_double.copy.manifest import StagedFile, resolve_files
from deployments.local.redshift_double.copy.parquet import check_schema, csv_chunks, opened, spool
from deployments.local.redshift_double.copy.slow import (
    SCRATCH,
    LoadError,
    LoadFailed,
    SlowRoad,
    load_scratch,
    make_scratch,
)
from deployments.local.redshift_double.copy.target import Target, describe_target
from deployments.local.redshift_double.errors import Refusal
from deployments.local.redshift_double.session import Result, Session, literal, now
from deployments.local.redshift_double.sql.tokens import Statement

_NEEDS_SLOW_ROAD = {
    "EMPTYASNULL", "BLANKSASNULL", "TRUNCATECOLUMNS", "FILLRECORD", "ACCEPTINVCHARS",
    "IGNOREBLANKLINES",
}  # fmt: skip
_GIVE_UP = {"57014", "25P02"}


async def copy(session: Session, statement: Statement) -> Result:
    """Runs a COPY and tells the client how it went.

    Raises:
        Refusal: The load failed; details are in the error tables, visible to every session.
    """
    command = parse_copy(statement)
    session.cancelled = False
    target = await describe_target(session, command)
    files = await asyncio.to_thread(resolve_files, command, session.world.s3)
    own = session.status == "I"
    if own:
        (await session.run("BEGIN")).require()
    query_id = (await session.run("SELECT nextval('redshift_double.query_ids')")).require()
    query = int(str(query_id.rows[0][0]))
    try:
        count = await _Load(session, command, target, files).run()
        await _remember(session, query, target, files, count)
    except LoadFailed as failed:
        await _record(session, query, target, failed.errors)
        if not own:
            await session.run("BEGIN")
        raise Refusal(
            f"Load into table '{target.name}' failed.  Check 'sys_load_error_detail' system table "
            "for details.",
            "XX000",
        ) from failed
    except Refusal:
        if own:
            await session.run("ROLLBACK")
        raise
    if own:
        (await session.run("COMMIT")).require()
    session.complete(
        "COPY", f"Load into table '{target.name}' completed, {count} record(s) loaded successfully."
    )
    return Result()


async def _remember(
    session: Session, query: int, target: Target, files: list[StagedFile], count: int
) -> None:
    values = ", ".join(
        f"({query}, {literal(target.name)}, {literal(file.uri)}, "
        f"{count if len(files) == 1 else 'NULL::bigint'})"
        for file in files
    )
    if values:
        sql = "INSERT INTO redshift_double.load_commits (query, name, filename, lines_scanned) "
        (await session.run(f"{sql} VALUES {values}")).require()
    await _set_last(session, query, count)


async def _set_last(session: Session, query: int, count: int) -> None:
    await session.run(
        f"SELECT set_config('redshift_double.copy_id', '{query}', false), "
        f"set_config('redshift_double.copy_count', '{count}', false)"
    )


async def _record(session: Session, query: int, target: Target, errors: list[LoadError]) -> None:
    """Ends the failed transaction and writes its errors outside of it, so that they stay."""
    await session.run("ROLLBACK")
    stamp = literal(now().replace(tzinfo=None).isoformat(sep=" "))
    for error in errors:
        texts = [error.column, error.type, error.length, error.raw_line, error.raw_value]
        quoted = ", ".join(literal(text) for text in texts)
        (
            await session.run(
                "INSERT INTO redshift_double.load_errors (tbl, starttime, session, query, "  # noqa: S608
                "filename, line_number, colname, type, col_length, raw_line, raw_field_value, "
                f"err_code, err_reason) VALUES ({target.oid}, {stamp}, pg_backend_pid(), {query}, "
                f"{literal(error.uri)}, {error.line}, {quoted}, {error.code}, "
                f"{literal(error.reason)})"
            )
        ).require()
    await _set_last(session, query, 0)


class _Load:
    """The paths a load can take, the fastest first."""

    def __init__(
        self, session: Session, command: CopyCommand, target: Target, files: list[StagedFile]
    ) -> None:
        self._session = session
        self._command = command
        self._target = target
        self._files = files
        self._scales = {
            index: column.scale
            for index, column in enumerate(target.columns)
            if column.scale is not None and "ROUNDEC" not in command.flags
        }

    async def run(self) -> int:
        """Loads the files; returns the number of records."""
        if self._command.format == "parquet":
            return await self._parquet()
        slow = SlowRoad(self._session, self._command, self._target, self._files)
        changing = self._command.flags & _NEEDS_SLOW_ROAD or self._command.time_format != "auto"
        if self._command.format == "json" or changing:
            return await slow.load()
        await self._session.run("SAVEPOINT redshift_double_copy")
        straight = not any(column.is_binary for column in self._target.columns)
        for path in [self._straight] * straight + [self._through_scratch]:
            try:
                count = await path()
            except Refusal as refusal:
                if refusal.sqlstate in _GIVE_UP:
                    raise
                count = None
            if count is not None:
                await self._session.run("RELEASE SAVEPOINT redshift_double_copy")
                return count
            await self._session.run("ROLLBACK TO SAVEPOINT redshift_double_copy")
        return await slow.load()

    async def _straight(self) -> int | None:
        scan = asyncio.create_task(self._scan())
        sql = f"COPY {self._target.sql_name} {self._target.column_list} {self._from_csv()}"
        try:
            fed = (await self._feed(sql)).require()
        except Refusal:
            await scan
            raise
        return None if await scan else int(fed.tag.rsplit(" ", 1)[-1])

    async def _through_scratch(self) -> int | None:
        """Loads texts first, for empty fields that are NULL and for decimals to cut."""
        await make_scratch(self._session, self._target)
        fields = ", ".join(f"c{i}" for i in range(len(self._target.columns)))
        (await self._feed(f"COPY {SCRATCH} ({fields}) {self._from_csv()}")).require()
        return await load_scratch(self._session, self._command, self._target)

    async def _feed(self, sql: str) -> Result:
        data = chunks(self._command, self._session.world.s3, self._files)
        return await self._session.copy_in(sql, data)

    async def _scan(self) -> bool:
        supers = [at for at, column in enumerate(self._target.columns) if column.is_super]
        if not self._scales and not supers:
            return False
        width = len(self._target.columns)
        return await asyncio.to_thread(
            has_odd_values,
            self._command,
            self._session.world.s3,
            self._files,
            width,
            self._scales,
            supers,
        )

    def _from_csv(self) -> str:
        command = self._command
        return (
            f"FROM STDIN (FORMAT csv, NULL {literal(command.null_as)}, "
            f"DELIMITER {literal(command.delimiter)}, QUOTE {literal(command.quote)})"
        )

    async def _parquet(self) -> int:
        count = 0
        for file in self._files:
            with self._session.world.s3.open(file.uri, content=file.content) as stream:
                local = await asyncio.to_thread(spool, stream)
            with local:
                parquet = await asyncio.to_thread(opened, local)
                check_schema(parquet.schema_arrow, self._target, file.uri)
                sql = (
                    f"COPY {self._target.sql_name} {self._target.column_list} "
                    "FROM STDIN (FORMAT csv, NULL '')"
                )
                fed = await self._session.copy_in(sql, csv_chunks(parquet))
            if fed.error:
                if fed.error.sqlstate in _GIVE_UP:
                    raise fed.error
                error = LoadError(file.uri, 0, "", "", "", "", "", 15001, fed.error.message)
                raise LoadFailed([error])
            count += int(fed.tag.rsplit(" ", 1)[-1])
        return count
