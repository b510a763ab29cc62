"""Messages about what stands still: one when it begins, at most one when it is over."""

from __future__ import annotations

from blocks.notifier import load_notifier, send
from ferry.errors import OutcomeUnknownError
from ferry.runs.notice import Notice
from tasks.runs.marks import SENDING, SENT, Mark


def notify_once(mark: Mark, notice: Notice, slug: str, value: str = SENT) -> bool:
    """Send the message unless its mark says that it was sent; whether it was sent just now.

    Args:
        mark: Says whether it was told already.
        notice: The message.
        slug: The notification block.
        value: What the mark then says.

    Raises:
        FerryError: It could not be sent; the next look tries again. One that was perhaps taken is
            not sent again.
    """
    if not mark.claim() and (mark.value() != SENDING or mark.is_being_sent()):
        return False  # else its sender has died before it knew
    try:
        send(notice, load_notifier(slug))
    except OutcomeUnknownError:
        mark.confirm(value)
        raise
    except BaseException:
        mark.release()
        raise
    mark.confirm(value)
    return True


def notify_over(
    mark: Mark, notice: Notice | None, slug: str | None, value: str | None = None
) -> None:
    """Let what is over be told anew, should it come again.

    Args:
        mark: Says that it was told.
        notice: The message that it is over, if there is to be one.
        slug: The notification block.
        value: What the mark says from now on, of what cannot come again; else it is removed.

    Raises:
        FerryError: It could not be sent; the next look tries again. One that was perhaps taken is
            not sent again.
    """
    try:
        if notice and slug:
            send(notice, load_notifier(slug))
    except OutcomeUnknownError:
        _over(mark, value)
        raise
    _over(mark, value)


def _over(mark: Mark, value: str | None) -> None:
    mark.confirm(value) if value else mark.release()
