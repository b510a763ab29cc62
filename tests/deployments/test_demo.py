"""The demo saves blocks, in place of others: never on a server that is not its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9/api"

OF_THE_ENVIRONMENT = {
    "FERRY_NOTIFY": "slack-webhook/ferry",
    "FERRY_SUMMARIES": "/of/theirs",
    "PREFECT_API_URL": NOBODY,
    "prefect_api_key": "by-the-environment",  # Prefect reads small letters, too
    "PREFECT_PROFILES_PATH": "their-profiles.toml",
    "PREFECT_SERVER_API_AUTH_STRING": "user:password",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///theirs.db",
}
FILES = {
    ".env": f"PREFECT_API_URL={NOBODY}\nPREFECT_CLIENT_MAX_RETRIES=1",
    "prefect.toml": f'[api]\nurl = "{NOBODY}"\n[client]\nretry_extra_codes = "501"',
    "pyproject.toml": "[tool.prefect.results]\npersist_by_default = true",
    "their-profiles.toml": (
        f'active = "their"\n[profiles.their]\nPREFECT_API_URL = "{NOBODY}"\n'
        'PREFECT_API_AUTH_STRING = "user:password"'
    ),
}
OWN = {
    "PREFECT_HOME",
    "PREFECT_PROFILES_PATH",
    "PREFECT_LOGGING_LEVEL",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE",
    "PREFECT_SERVER_EPHEMERAL_ENABLED",  # another name of the same
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS",
    "PREFECT_SERVER_ANALYTICS_ENABLED",
}


def run_in_a_checkout(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run it where every place that Prefect looks at names somebody else's server."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    here = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**here, **OF_THE_ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_it_knows_no_server_and_no_setting_but_its_own(tmp_path: Path) -> None:
    done = run_in_a_checkout(
        tmp_path,
        "import json, os; import deployments.demo; from prefect.settings import "
        "get_current_settings\n"
        "print(json.dumps(get_current_settings().to_environment_variables(exclude_unset=True)))\n"
        "print(*sorted(name for name in os.environ if name.startswith('FERRY_')))",
    )
    assert done.returncode == 0, done.stderr
    prefect_s, ferry_s = done.stdout.splitlines()
    settings = json.loads(prefect_s)
    assert set(settings) - OWN == set()
    assert settings["PREFECT_HOME"] == str(tmp_path / ".ferry/demo/prefect")
    assert ferry_s == "FERRY_DATA FERRY_TABLES"


def test_part_files_and_what_matplotlib_keeps_are_in_its_folder(tmp_path: Path) -> None:
    done = run_in_a_checkout(
        tmp_path,
        "import deployments.demo; import matplotlib; from blocks.work_folder import work_folder\n"
        "print(work_folder(), matplotlib.get_cachedir(), matplotlib.get_configdir())",
    )
    assert done.returncode == 0, done.stderr
    for place in done.stdout.split():
        assert Path(place).is_relative_to(tmp_path / ".ferry/demo")


def test_it_saves_no_block_where_another_server_is_named_all_the_same(tmp_path: Path) -> None:
    done = run_in_a_checkout(
        tmp_path,
        "from deployments import demo\n"
        "from prefect.settings import PREFECT_API_URL, temporary_settings\n"
        "demo.register = lambda _: print('saved')\n"
        f"with temporary_settings({{PREFECT_API_URL: {NOBODY!r}}}): demo.main()",
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "another Prefect server" in done.stderr
