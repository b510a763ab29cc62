"""What some of PostgreSQL's codes are about, where their class says too little, and what to do.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import re

_TAKES_NO_WRITES = (
    "the warehouse takes no writes at the moment",
    "Try again when the failover, recovery or resize is over. If it comes back, `host` of the "
    "warehouse block names a replica, or `default_transaction_read_only` is on for the server, the "
    "database or the user, as some providers set it when the disk is full.",
)
_BY_CODE = {
    "25006": _TAKES_NO_WRITES,
    "25P03": (
        "the server ended a session that waited within its transaction",
        "Try again; if it comes back, raise `idle_in_transaction_session_timeout` for the block's "
        "user.",
    ),
    "25P04": (
        "the server ended a transaction that took too long",
        "Try again; if it comes back, raise `transaction_timeout` for the block's user, or carry "
        "less at once.",
    ),
    "53100": (
        "the server's disk is full",
        "Make room at the server, or enlarge its disk, then try again: tables that nobody needs, "
        "and WAL that an unused replication slot keeps, are what to look for first.",
    ),
    "53200": (
        "the server is out of memory",
        "Try again when less runs there; if it comes back, give it more memory, or lower "
        "`work_mem` for the block's user.",
    ),
    "53300": (
        "the server has no connection left",
        "Try again later; if it comes back, raise `max_connections`, or the limit of the user or "
        "the database, or carry fewer tables at once.",
    ),
    "53400": (
        "a limit of the server's settings is reached",
        "Raise the setting for the block's user: `temp_file_limit`, as a rule.",
    ),
    "55P03": (
        "the warehouse is busy: a lock was not to be had in time",
        "Try again later; if it comes back, see in `pg_locks` who holds it, or raise "
        "`lock_timeout` for the block's user.",
    ),
    "57014": (
        "the warehouse is busy: a statement was cancelled, or took longer than it may",
        "Try again later; if it comes back, look at locks and queues, or raise "
        "`statement_timeout_seconds` of the warehouse block.",
    ),
}
_NOT_READY = (
    (
        re.compile("replica identity", re.IGNORECASE),
        "it is published to subscribers, and nothing tells them which row is deleted",
        "Have its owner run: ALTER TABLE … REPLICA IDENTITY FULL; or give the table a primary key.",
    ),
)


def in_recovery(code: str, text: str) -> bool:
    """Whether a standby, or a server that recovers, refuses what a primary would do.

    Args:
        code: The error's.
        text: Its message without the names in it.
    """
    return code == "25006" or (code == "55000" and "recovery is in progress" in text)


def cause_of(code: str, message: str) -> tuple[str, str] | None:
    """What has happened, and what to do; None where the error's class says all there is.

    Args:
        code: The error's.
        message: The server's primary message, without the names in it.
    """
    if in_recovery(code, message):
        return _TAKES_NO_WRITES
    if code == "55000":
        for words, problem, todo in _NOT_READY:
            if words.search(message):
                return f"the warehouse refuses the statement: {problem}", todo
    return _BY_CODE.get(code)
