"""Prefect's notification blocks: found by name, and made to say when they fail.

Below level WARNING the libraries that they send with log whole addresses, and a webhook's address
is a secret; so does Apprise, at any level, about one that it cannot read.

A service that does not answer in time may have taken the message all the same. Apprise waits four
seconds, and says of every error of the network that a connection failed; so it gets more time here,
and what it caught is looked at while it logs that.
"""

from __future__ import annotations

import logging
import re
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from inspect import iscoroutine
from typing import Any

import httpx
from prefect.blocks.abstract import NotificationBlock, NotificationError
from prefect.blocks.core import Block
from prefect.blocks.notifications import AppriseNotificationBlock, SlackWebhook
from prefect.utilities.asyncutils import run_coro_as_sync
from pydantic import SecretStr

from ferry.errors import AccessError, ConfigurationError, OutcomeUnknownError
from ferry.runs.notice import Notice

# Prefect's block takes these itself, without Apprise.
_SLACK_GOV = re.compile(r"https?://hooks\.slack-gov\.com/services/\w+/\w+/\w+/?")
ANSWER_SECONDS = 30.0
"""For how long a service that has the message may take to answer."""

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_SENDERS = ("apprise", "urllib3", "httpx", "httpcore")


def slack_webhook(address: str) -> SlackWebhook:
    """The notification block of a Slack webhook, whose address is looked at first.

    Raises:
        ConfigurationError: Nothing can be sent to that address. The text holds nothing of it.
    """
    if not _can_be_read(address):
        raise ConfigurationError(
            "the webhook's address cannot be read",
            expected="https://hooks.slack.com/services/…/…/…, as Slack shows it",
            found="another kind of address, which is not shown: it may hold the token",
            todo="Copy it again from Slack's page of the incoming webhook.",
        )
    return SlackWebhook(url=SecretStr(address))


def _can_be_read(address: str) -> bool:
    """Whether the library that sends understands the address; about others it tells all of it."""
    from apprise import Apprise  # noqa: PLC0415  # 8 MB, and most runs notify nobody

    with _discreetly(logging.CRITICAL):
        return bool(_SLACK_GOV.fullmatch(address)) or Apprise().add(address)


def load_notifier(slug: str) -> NotificationBlock:
    """The notification block of this name.

    Args:
        slug: The block's type and name, `slack-webhook/ferry`.

    Raises:
        ConfigurationError: There is none of that name, it or its address cannot be read, or it
            cannot notify.
    """
    try:
        with _discreetly(logging.CRITICAL):
            block = Block.load(slug)
    except httpx.HTTPError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever its kind raises; may hold its values
        missing = isinstance(error, ValueError) and "Unable to find block" in str(error)
        raise ConfigurationError(
            f"the notification block {slug!r} {'is not there' if missing else 'cannot be read'}",
            expected="one as <type>/<name>, such as slack-webhook/ferry",
            found="none of that name" if missing else type(error).__name__,
            todo="Make or correct it in Prefect's UI, or correct FERRY_NOTIFY.",
        ) from None
    if not isinstance(block, NotificationBlock):
        raise ConfigurationError(
            f"the block {slug!r} cannot notify",
            expected="one of Prefect's notification blocks, such as slack-webhook/ferry",
            found=type(block).__name__,
            todo="Correct FERRY_NOTIFY.",
        )
    if isinstance(block, AppriseNotificationBlock):
        address = block.url.get_secret_value()
        if not _can_be_read(address):
            raise ConfigurationError(
                f"the address in the notification block {slug!r} cannot be read",
                todo="Correct it in Prefect's UI, or register the block again.",
            )
    return block


def send(notice: Notice, block: NotificationBlock) -> None:
    """Send the message; returns once the service has taken it.

    Raises:
        AccessError: The service refused it or could not be reached. The text holds no address.
        OutcomeUnknownError: The service did not answer: it may have taken the message.
    """
    _be_patient(block)
    try:
        with _discreetly(logging.WARNING), _unanswered() as unanswered, block.raise_on_failure():
            sent: Any = block.notify(notice.body, notice.subject)
            if iscoroutine(sent):
                run_coro_as_sync(sent)
    except NotificationError as error:
        if unanswered:
            raise _perhaps_sent(unanswered[0]) from None
        raise _not_sent(_without_secrets(error.log, block)) from None
    except httpx.TransportError as error:
        if isinstance(error, _NEVER_SENT):
            raise _not_sent(type(error).__name__) from None
        raise _perhaps_sent(type(error).__name__) from None
    except httpx.HTTPStatusError as error:  # its text holds the address
        raise _not_sent(f"HTTP {error.response.status_code}") from None
    except Exception as error:  # noqa: BLE001  # whatever its kind raises; may hold the address
        raise _not_sent(type(error).__name__) from None


def _not_sent(found: str) -> AccessError:
    return AccessError(
        "not sent",
        found=found,
        todo="Look at the notification block: the service refused it, or could not be reached from "
        "this machine.",
    )


def _perhaps_sent(found: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        "perhaps sent: the service did not answer",
        expected=f"an answer within {ANSWER_SECONDS:.0f} s",
        found=found,
        todo="Look whether the message is there.",
    )


def _be_patient(block: NotificationBlock) -> None:
    """Let Apprise wait for an answer for as long as we do; an address may say `?rto=` more."""
    for service in getattr(block, "_apprise_client", ()):
        service.socket_read_timeout = max(service.socket_read_timeout, ANSWER_SECONDS)


@contextmanager
def _unanswered() -> Iterator[list[str]]:
    """The kinds of errors that Apprise meets after a message has left for the service."""
    import requests  # noqa: PLC0415  # as Apprise, which sends with it

    found: list[str] = []

    def look(_record: logging.LogRecord) -> bool:
        error = sys.exc_info()[1]  # it logs while it handles the error, and then forgets it
        if isinstance(error, requests.RequestException) and _had_left(error):
            found.append(type(error).__name__)
        return True

    logger = logging.getLogger("apprise")
    logger.addFilter(look)
    try:
        yield found
    finally:
        logger.removeFilter(look)


def _had_left(error: BaseException) -> bool:
    """Whether this or an error that it holds is one of a connection that stood.

    Behind a proxy urllib3 calls it a proxy that cannot be reached, and holds the real one.
    """
    import requests  # noqa: PLC0415
    from urllib3.exceptions import ProtocolError, ReadTimeoutError  # noqa: PLC0415

    afterwards = (
        requests.ReadTimeout,
        ReadTimeoutError,
        ProtocolError,
        HTTPException,
        ConnectionResetError,
        BrokenPipeError,
        ssl.SSLEOFError,
    )
    held = [*error.args, getattr(error, "reason", None)]
    return isinstance(error, afterwards) or any(
        _had_left(each) for each in held if isinstance(each, BaseException)
    )


@contextmanager
def _discreetly(level: int) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _SENDERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.setLevel(was)


def _without_secrets(text: str, block: Block) -> str:
    """The text without the block's secrets or any longer part of them."""
    for value in vars(block).values():
        if isinstance(value, SecretStr):
            parts = re.split(r"[/:@?&=]+", value.get_secret_value())
            for part in (value.get_secret_value(), *parts):
                text = text.replace(part, "…") if len(part) > 5 else text
    return " ".join(text.split()).rstrip(".") or "no reason was given"
