"""The settings that are read from the environment; any other name that begins so is a mistake."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from ferry.errors import ConfigurationError

PREFIX = "FERRY_"
_BLOCK = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")
"""As Prefect takes the names of its blocks."""
_OF_SERVICE = "_SERVICE_HOST"
"""So ends the first of the names by which Kubernetes links a service to each pod."""

REGISTERED = {
    "FERRY_MYSQL": ("HOST", "PORT", "USER", "PASSWORD", "DATABASE", "CA"),
    "FERRY_S3": ("ENDPOINT", "REGION", "BUCKET", "ACCESS_KEY", "SECRET_KEY"),
    "FERRY_WAREHOUSE": ("HOST", "PORT", "USER", "PASSWORD", "DATABASE", "IAM_ROLE", "CA"),
    "FERRY_PRICES": ("URL", "SYMBOLS"),
    "FERRY_NOTIFY": ("SLACK_URL",),
}
"""What the registration makes blocks of."""

SETTINGS = (
    *(f"{group}_{name}" for group, names in REGISTERED.items() for name in names),
    "FERRY_DATA",
    "FERRY_NOTIFY",
    "FERRY_READERS",
    "FERRY_SUMMARIES",
    "FERRY_TABLES",
)

ELSEWHERE = ("FERRY_MYSQLD",)
"""What the tests and the local stack read: known, and never what was meant."""

PLACES = {"FERRY_TABLES": "a file", "FERRY_SUMMARIES": "a folder"}
"""What names a place: empty, it would leave the one that is shipped in force without a word."""


def check_settings(environment: Mapping[str, str]) -> None:
    """Refuse a setting that is misspelled, and a place that is set and empty.

    Args:
        environment: The settings and all else that there is.

    Raises:
        ConfigurationError: There is one; the message says which, and no value.
    """
    refuse_misspelled(environment)
    for name, place in PLACES.items():
        if name in environment and not environment[name].strip():
            raise ConfigurationError(f"{name} is set and empty", todo=f"Unset it, or name {place}.")


def notifier_name(environment: Mapping[str, str]) -> str | None:
    """The notification block that is to be used; None if nobody is to be notified.

    Args:
        environment: The settings and all else that there is.

    Raises:
        ConfigurationError: It is no block's name. The message says nothing of it: a webhook's
            address, which is a secret, may stand there by mistake.
    """
    name = environment.get("FERRY_NOTIFY") or None
    if name and not _BLOCK.fullmatch(name):
        raise ConfigurationError(
            "FERRY_NOTIFY names no notification block",
            expected="one as <type>/<name>, such as slack-webhook/ferry",
            found="something else, which is not shown: it may hold a token",
            todo="Name a block. A webhook's address goes into FERRY_NOTIFY_SLACK_URL, when the "
            "blocks are registered.",
        )
    return name


def refuse_misspelled(names: Iterable[str]) -> None:
    """Refuse the first name that begins like a setting and is none.

    What Kubernetes sets of a service `ferry` or `ferry-…` in each pod of its namespace is let pass.

    Args:
        names: The names in the environment.

    Raises:
        ConfigurationError: It is misspelled; the message says which was meant, and no value.
    """
    names = set(names)
    services = [each.removesuffix(_OF_SERVICE) for each in names if each.endswith(_OF_SERVICE)]
    links = tuple(f"{each}_{what}_" for each in services for what in ("PORT", "SERVICE"))
    for name in sorted(names):
        if not name.startswith(PREFIX) or name in (*SETTINGS, *ELSEWHERE):
            continue
        if not f"{name}_".startswith(links):
            ours = {known.removeprefix(PREFIX): known for known in SETTINGS}
            meant = get_close_matches(name.removeprefix(PREFIX), ours, n=1)
            raise ConfigurationError(
                f"there is no setting {name}",
                expected=ours[meant[0]] if meant else f"one of {', '.join(SETTINGS)}",
                todo="Correct its name, or unset it.",
            )
