"""Messages about what stands still: one when it begins, at most one when it is over."""

from __future__ import annotations

from blocks.notifier import load_notifier, send
from ferry.errors import OutcomeUnknownError
from ferry.runs.notice import Notice
from tasks.runs.notice_claims import SENDING, SENT, NoticeClaim


def notify_once(claim: NoticeClaim, notice: Notice, slug: str, value: str = SENT) -> bool:
    """Send the message unless its claim says that it was sent; whether it was sent just now.

    Args:
        claim: Says whether it was told already.
        notice: The message.
        slug: The notification block.
        value: What the claim then says.

    Raises:
        FerryError: It could not be sent; the next look tries again. One that was perhaps taken is
            not sent again.
    """
    if not claim.take() and (claim.value() != SENDING or claim.is_being_sent()):
        return False  # else its sender has died before it knew
    try:
        send(notice, load_notifier(slug))
    except OutcomeUnknownError:
        claim.confirm(value)
        raise
    except BaseException:
        claim.release()
        raise
    claim.confirm(value)
    return True


def notify_over(
    claim: NoticeClaim, notice: Notice | None, slug: str | None, value: str | None = None
) -> None:
    """Let what is over be told anew, should it come again.

    Args:
        claim: Says that it was told.
        notice: The message that it is over, if there is to be one.
        slug: The notification block.
        value: What the claim says from now on, of what cannot come again; else it is removed.

    Raises:
        FerryError: It could not be sent; the next look tries again. One that was perhaps taken is
            not sent again.
    """
    try:
        if notice and slug:
            send(notice, load_notifier(slug))
    except OutcomeUnknownError:
        _over(claim, value)
        raise
    _over(claim, value)


def _over(claim: NoticeClaim, value: str | None) -> None:
    claim.confirm(value) if value else claim.release()
