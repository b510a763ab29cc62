"""What the double answers when Redshift would have said no."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - it is an answer to a client, not a failure of the double
    """An error for the client, worded as Redshift words it.

    Attributes:
        message: The primary message.
        sqlstate: Five characters; Redshift uses ``XX000`` for most of its own errors.
        detail: The DETAIL field, or None.
    """

    def __init__(self, message: str, sqlstate: str = "0A000", detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.detail = detail


class Cut(Exception):  # noqa: N818 - told by a fault, not an error of the double
    """The connection ends here, without an answer."""


def syntax_error(near: str) -> Refusal:
    """Returns the parser's error at a word."""
    return Refusal(f'syntax error at or near "{near}"', "42601")


def unsupported(what: str) -> Refusal:
    """Returns the error for a feature that Redshift does not have."""
    return Refusal(f"{what} is not supported")
