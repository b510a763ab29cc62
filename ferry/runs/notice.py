"""The message that is sent about a failed run: bounded in length, free of secrets, and plain text.

A run's state message holds one reason per line; before them, if there are several, a line that says
how many failed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ferry.bounded import shortened
from ferry.errors import CODE_BEGINS

MAX_LINES = 11  # with the line before them
MAX_REASON_LENGTH = 900
MAX_REASONS_LENGTH = 1_900
MAX_LINE_LENGTH = 200
"""All of them together stay below the 3,000 characters at which Slack cuts a text."""

SENT_AGAIN = "Sent once more: nobody answered the first time, so it may be there already."

SHOWN_PARAMETERS = (
    "tables",
    "every",
    "run_date",
    "window_start",
    "window_end",
    "start_date",
    "end_date",
    "granularity",
    "reprocess",
    "days",
    "symbols",
    "last_days",
    "repair",
    "summary",
    "mode",
    "zone",
)
"""What of a run's parameters is told besides `table`; anything else is not."""

_PREFECT_S = re.compile(
    rf"^Flow run encountered an exception[:.] *([A-Za-z]+: (?={CODE_BEGINS}[A-Z]+: ))?"
)
"""What Prefect puts before a reason; the error's class as well, where its code says the same."""

_MORE = re.compile(r"and ([0-9][0-9,]{0,12}) more\b")
"""The line of `ferry.bounded.first_of` in place of others."""

_LOOK_ALIKES = str.maketrans("<>`", "\u2039\u203a'")
_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all)\b)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]+")


@dataclass(frozen=True)
class FailedRun:
    """What is known of a failed run.

    Attributes:
        name: The run's name.
        deployment: The flow and its deployment, `sync-all/daily`.
        ended: The name of its last state: Failed, Crashed, TimedOut, Cancelled.
        message: That state's message, one reason per line.
        parameters: What the run was started with.
        window: The window, as people say it, if it is known.
        link: Where the run's page is; without a UI, whatever finds the run.
    """

    name: str
    deployment: str
    ended: str
    message: str
    parameters: Mapping[str, Any]
    window: str | None
    link: str


@dataclass(frozen=True)
class Notice:
    """A message: one line of subject, and a body."""

    subject: str
    body: str

    @property
    def again(self) -> Notice:
        """The same, where it may have arrived before: nobody answered then."""
        return Notice(self.subject, f"{self.body}\n{SENT_AGAIN}")


def failure_notice(run: FailedRun) -> Notice:
    """The message about a failed run: table, window, reasons, and the run's link."""
    given = run.parameters
    started_with = [
        f"{name}={_said(given[name])}" for name in SHOWN_PARAMETERS if given.get(name) is not None
    ]
    flow = f"Flow: {plain(run.deployment)}"
    lines = [
        f"Table: {_said(given['table'])}" if given.get("table") else "",
        f"Window: {_said(run.window)}" if run.window else "",
        *_reasons(run.message),
        _clip(
            f"{flow}, with {' '.join(started_with)}" if started_with else flow,
            2 * MAX_LINE_LENGTH,
        ),
        f"Run: {run.link}",
    ]
    return Notice(
        subject=_clip(f"Ferry: {plain(run.name)} {_how(run.ended)}", MAX_LINE_LENGTH),
        body="\n".join(line for line in lines if line),
    )


def _how(ended: str) -> str:
    said = {"Crashed": "crashed", "TimedOut": "timed out", "Cancelled": "was cancelled"}
    return said.get(ended, "failed")


def _reasons(message: str) -> list[str]:
    """The state's message, cut to the first few reasons and the number of the others."""
    lines = [line.strip() for line in _PREFECT_S.sub("", message).splitlines() if line.strip()]
    kept: list[str] = []
    for line in lines[:MAX_LINES]:
        reason = shortened(plain(line), MAX_REASON_LENGTH)
        if sum(map(len, kept)) + len(reason) > MAX_REASONS_LENGTH:
            break
        kept.append(reason)
    first, *others = kept or ["none was given"]
    shown = [f"Reason: {first}", *(f"- {line}" for line in others)]
    left_out = sum(map(_told_by, lines[len(kept) :]))
    return [*shown, f"and {left_out:,} more, on the run's page"] if left_out else shown


def _told_by(line: str) -> int:
    """How many reasons the line stands for: a state's message counts those that it leaves out."""
    counted = _MORE.match(line)
    return int(counted[1].replace(",", "")) if counted else 1


def _said(value: Any) -> str:
    listed = isinstance(value, list | tuple)
    return _clip(plain(",".join(map(str, value)) if listed else str(value)), MAX_LINE_LENGTH)


def plain(text: str) -> str:
    """The text on one line, as no service reads it for anything else: mentions, links, code.

    A table's name or a date may be anything that somebody gave a run. Slack reads `<!channel>` and
    `<https://…|link>`, others `@everyone`, HTML and Markdown. Escapes differ between them, and what
    sends to Slack undoes its own for just these; so what begins them is replaced by what looks
    alike. Prefect's own webhook fills in what stands in double braces.
    """
    text = " ".join(_CONTROL.sub(" ", text).split()).translate(_LOOK_ALIKES)
    return re.sub(r"\{(?=\{)", "{ ", _MENTION.sub("@\u200b", text).replace("](", "] ("))


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
