"""Messages about what stands still: one when it begins, at most one when it is over.

A receiver that did not answer may have taken the message: the next look sends it once more, and
says so. There is no third, unless the sender of the second dies before it knows.
"""

from __future__ import annotations

from collections.abc import Callable

from blocks.notifier import load_notifier, send
from ferry.errors import OutcomeUnknownError
from ferry.runs.notice import Notice
from tasks.runs.notice_claims import PERHAPS, SENDING, SENT, NoticeClaim


def notify_once(claim: NoticeClaim, notice: Notice, slug: str, value: str = SENT) -> bool:
    """Send the message unless its claim says that it was sent; whether it was sent just now.

    Args:
        claim: Says whether it was told already.
        notice: The message.
        slug: The notification block.
        value: What the claim then says.

    Raises:
        FerryError: It could not be sent; the next look tries again. One that was perhaps taken is
            sent once more at most.
    """
    mine = _taken(claim)
    if mine is None:
        return False

    def done() -> None:
        claim.confirm(value)
        if mine.again:
            mine.release()

    _send(mine, notice, slug, done)
    return True


def notify_over(
    claim: NoticeClaim, notice: Notice | None, slug: str | None, value: str | None = None
) -> bool:
    """Let what is over be told anew, should it come again; whether that was done just now.

    Args:
        claim: Says that it was told.
        notice: The message that it is over, if there is to be one.
        slug: The notification block.
        value: What the claim says from now on, of what cannot come again; else it is removed.

    Raises:
        FerryError: It could not be sent; the next look tries again. One that was perhaps taken is
            sent once more at most.
    """
    if not (notice and slug):
        _over(claim, value)
        return True
    mine = _taken(claim.over)
    if mine is None:
        return False
    if claim.value() in (None, value):  # whoever had it before has told it, and is done
        mine.release()
        return False

    def done() -> None:
        _over(claim, value)
        claim.over.release()
        if mine.again:
            mine.release()

    _send(mine, notice, slug, done)
    return True


def _over(claim: NoticeClaim, value: str | None) -> None:
    claim.confirm(value) if value else claim.release()


def _taken(claim: NoticeClaim) -> NoticeClaim | None:
    """The claim with which the caller is to send; None if somebody has, or is about to.

    Of a message that was perhaps sent it is the second one: also where its sender has died before
    it knew.
    """
    if claim.take():
        return claim
    second = claim.second
    if not _is_in_doubt(claim) or not (second.take() or _is_in_doubt(second)):
        return None
    if not _is_in_doubt(claim):  # whoever had the second one has sent it meanwhile
        second.release()
        return None
    return second


def _is_in_doubt(claim: NoticeClaim) -> bool:
    value = claim.value()
    return value == PERHAPS or (value == SENDING and not claim.is_being_sent())


def _send(mine: NoticeClaim, notice: Notice, slug: str, done: Callable[[], None]) -> None:
    """Send the message with a claim that was taken.

    Args:
        mine: The claim; it is given back if the message cannot be sent.
        notice: The message.
        slug: The notification block.
        done: Notes that it is sent, or was perhaps sent twice.

    Raises:
        FerryError: It could not be sent, or was perhaps sent.
    """
    try:
        send(notice.again if mine.again else notice, load_notifier(slug))
    except OutcomeUnknownError:
        done() if mine.again else mine.doubt()
        raise
    except BaseException:
        mine.release()
        raise
    done()
