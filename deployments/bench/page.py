"""The table in the documentation, between two markers, with what it was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from deployments.local import programs


class PageError(ValueError):
    """The page has no place for the table."""


def write(page: Path, lines: Sequence[str], command: str, what: str = "measured") -> None:
    """Put the lines between the page's markers, with date, machine, versions and command.

    Args:
        page: The page.
        lines: The table and its notes.
        command: What measured it.
        what: Which of the page's markers: `<!-- measured: begin -->`, and its end.

    Raises:
        PageError: The page has not both markers, each on a line of its own.
    """
    begins, ends = (f"<!-- {what}: {side} -->" for side in ("begin", "end"))
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(f"{begins}\n")
    _, end, after = rest.partition(f"{ends}\n")
    if not (begin and end):
        raise PageError(f"{page} has not both markers: {begins} and {ends}")
    measured = [f"`{command}`, {datetime.now(UTC):%d %B %Y}: {machine()}. {software()}.", ""]
    page.write_text(
        before + begin + "\n".join([*measured, *lines]) + "\n" + end + after, encoding="utf-8"
    )


def with_image(page: Path, what: str, image: bytes, words: str, lines: Sequence[str]) -> list[str]:
    """Write the image beside the page; the lines, below one that shows it or says what it shows."""
    file = page.with_name(f"{page.stem}-{what}.svg")
    file.write_bytes(image)
    return [f"![{words}]({file.name})", "", *lines]


def machine() -> str:
    """Cores and memory."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{os.cpu_count()} cores, {size / 2**30:.0f} GiB, {platform.system()}"


def software() -> str:
    """The versions that matter."""
    packages = ("prefect", "connectorx", "pyarrow", "zstandard", "psycopg2-binary", "moto")
    return ", ".join(
        [
            f"Python {platform.python_version()}",
            *(f"{package} {version(package)}" for package in packages),
            *(_version_of(name) for name in ("mariadbd", "postgres")),
        ]
    )


def _version_of(program: str) -> str:
    """A server program's own words, such as `PostgreSQL 15.10`."""
    output = subprocess.run(
        [programs.find(program), "--version"], capture_output=True, text=True, check=True
    ).stdout
    words = output.replace("(", " ").replace(")", " ").split()
    number = next(word for word in words if word[0].isdigit())
    return f"{'MariaDB' if program == 'mariadbd' else 'PostgreSQL'} {number.split('-')[0]}"
