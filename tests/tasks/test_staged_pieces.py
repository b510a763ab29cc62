"""Under which code's name a piece is recorded that was written while the code was updated."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
UPDATED = """
from pathlib import Path
from tasks.staged_pieces import _code
with Path("blocks/__init__.py").open("a") as file:
    file.write("# another version\\n")
print(_code(), _code())
"""


def test_code_that_is_updated_under_a_run_gives_its_name_to_no_piece_of_the_old(
    tmp_path: Path,
) -> None:
    for package in ("ferry", "blocks", "tasks"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )

    def told(program: str) -> list[str]:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.split()

    asks = "from tasks.staged_pieces import _code; print(_code())"
    before, again = told(asks), told(asks)
    (of_the_run, of_its_retry) = told(UPDATED)
    (after,) = told(asks)
    assert before == again
    assert of_the_run == of_its_retry
    assert of_the_run not in (*before, after)
    assert after not in before
