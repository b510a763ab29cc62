"""A table by Sling: run by the Python of Sling's throwaway environment, by path.

    python carry_with_sling.py TABLE SCHEMA

SHOP and WAREHOUSE are Sling's connections. The program that came in the wheel is run with its own
defaults, which take COPY into PostgreSQL. The last line of the output is a JSON object with the
seconds from its start to its end. Nothing of Ferry is imported.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

LONGEST_SECONDS = 500
"""Less than the bench waits for this, so that Sling's program is ended, too."""


def main() -> None:
    """Replace the table in the target with all rows of the source's."""
    table, schema = sys.argv[1:]
    package = importlib.util.find_spec("sling_linux_amd64")
    if package is None or package.origin is None:
        raise SystemExit("the wheel with Sling's program is not installed")
    program = Path(package.origin).with_name("bin") / "sling-linux-amd64"
    source = json.loads(os.environ["SHOP"])["database"]
    command: list[str | Path] = [
        *(program, "run", "--mode", "full-refresh"),
        *("--src-conn", "SHOP", "--src-stream", f"{source}.{table}"),
        *("--tgt-conn", "WAREHOUSE", "--tgt-object", f"{schema}.{table}"),
    ]
    begun = time.perf_counter()
    exit_code = subprocess.run(command, check=False, timeout=LONGEST_SECONDS).returncode
    seconds = time.perf_counter() - begun
    if exit_code != 0:
        raise SystemExit(exit_code)
    sys.stdout.write("\n" + json.dumps({"seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
