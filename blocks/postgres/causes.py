"""What some of PostgreSQL's codes are about, where their class says too little, and what to do.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
Redshift tells its own by a text and, in DETAIL, by a number beside `code:`; all are XX000.
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
_OF_REDSHIFT = (
    (
        re.compile(r"^\s*(error: *)?disk full|^\s*code: *1016\b", re.IGNORECASE | re.MULTILINE),
        "the cluster's disk is full",
        "Make room: drop tables that nobody needs, VACUUM those of many deleted rows, look in "
        "STV_PARTITIONS and SVV_TABLE_INFO for what takes it; or add nodes. Then try again: a full "
        "copy needs room for the table twice.",
    ),
    (
        re.compile(r"^\s*(error: *)?out of memory|^\s*code: *1004\b", re.IGNORECASE | re.MULTILINE),
        "the cluster is out of memory",
        "Try again when less runs there; if it comes back, give the queue of the block's user more "
        "memory in WLM, or carry less at once.",
    ),
    (
        re.compile(
            r"^\s*(error: *)?(system requested )?abort query|^\s*code: *1020\b",
            re.IGNORECASE | re.MULTILINE,
        ),
        "the cluster itself ended the query",
        "Try again later; if it comes back, look for a resize, a restart or a full disk at that "
        "hour in the cluster's events.",
    ),
    (
        # https://docs.aws.amazon.com/redshift/latest/dg/cm-c-wlm-query-monitoring-rules.html
        re.compile(r"cancell?ed by wlm abort", re.IGNORECASE),
        "a query monitoring rule of WLM ended the statement",
        "STL_WLM_RULE_ACTION names the rule. Exempt the queue of the block's user from it, or "
        "carry less at once.",
    ),
)


def of_redshift(code: str, text: str) -> tuple[str, str] | None:
    """Why Redshift itself ended a statement, and what to do; None where it is something else.

    Args:
        code: The error's.
        text: Its message and its detail, without the names in them.
    """
    if code in {"XX000", "57014"}:
        for words, problem, todo in _OF_REDSHIFT:
            if words.search(text):
                return problem, todo
    return None


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
