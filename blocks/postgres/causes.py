"""What some of PostgreSQL's codes are about, where their class says too little, and what to do.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

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
}


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
    return _BY_CODE.get(code)
