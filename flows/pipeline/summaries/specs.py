"""The summaries that this installation builds."""

from __future__ import annotations

import os
from pathlib import Path

from blocks.warehouses import DIALECTS
from ferry.errors import SpecError
from ferry.settings import check_settings
from ferry.summaries.files import Summaries, read_summaries

DEFAULT_FOLDER = Path(__file__).parents[3] / "deployments" / "summaries"


def load_summaries() -> Summaries:
    """The summaries in the folder that `FERRY_SUMMARIES` names, each after those that it reads.

    By default, `deployments/summaries`. A misspelled one is among `broken`, alone.

    Raises:
        ConfigurationError: A setting is misspelled, or one of a place is empty.
        SpecError: The folder cannot be read, or its summaries read each other in a circle.
    """
    check_settings(os.environ)
    folder = Path(os.environ.get("FERRY_SUMMARIES") or DEFAULT_FOLDER)
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir())
        found = {
            each.name: {
                file.name: file.read_text(encoding="utf-8")
                for file in each.iterdir()
                if file.suffix in (".sql", ".yaml", ".yml")
            }
            for each in folders
            if not each.name.startswith((".", "_"))
        }
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"the summaries cannot be read from {folder}",
            todo="Set FERRY_SUMMARIES to the folder of their folders; files are in UTF-8.",
        ) from error
    return read_summaries(found, DIALECTS)
