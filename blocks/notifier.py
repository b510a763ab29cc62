"""Prefect's notification blocks: found by name, and made to say when they fail.

Below level WARNING the libraries that they send with log whole addresses, and a webhook's address
is a secret; so does Apprise, at any level, about one that it cannot read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import iscoroutine
from typing import Any

import httpx
import prefect.blocks.notifications  # noqa: F401  # so that Block.load knows its kinds
from prefect.blocks.abstract import NotificationBlock, NotificationError
from prefect.blocks.core import Block
from prefect.utilities.asyncutils import run_coro_as_sync
from pydantic import SecretStr

from ferry.errors import AccessError, ConfigurationError
from ferry.notice import Notice

_SENDERS = ("apprise", "urllib3", "httpx", "httpcore")


def load_notifier(slug: str) -> NotificationBlock:
    """The notification block of this name.

    Args:
        slug: The block's type and name, `slack-webhook/ferry`.

    Raises:
        ConfigurationError: There is none of that name, it cannot be read, or it cannot notify.
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
    return block


def send(notice: Notice, block: NotificationBlock) -> None:
    """Send the message; returns once the service has taken it.

    Raises:
        AccessError: The service refused it or did not answer. The text holds no address.
    """
    try:
        with _discreetly(logging.WARNING), block.raise_on_failure():
            sent: Any = block.notify(notice.body, notice.subject)
            if iscoroutine(sent):
                run_coro_as_sync(sent)
    except NotificationError as error:
        raise AccessError("not sent", found=_without_secrets(error.log, block)) from None
    except httpx.HTTPStatusError as error:  # its text holds the address
        raise AccessError("not sent", found=f"HTTP {error.response.status_code}") from None
    except Exception as error:  # noqa: BLE001  # whatever its kind raises; may hold the address
        raise AccessError("not sent", found=type(error).__name__) from None


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
    return " ".join(text.split()) or "no reason was given"
