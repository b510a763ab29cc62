"""The tests see nothing of what environment and home of whoever runs them are set up for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.harness.shared import forget_settings

THEIRS = {
    "FERRY_SUMMARIES": "/of/theirs",
    "FERRY_NOTIFY_SLACK_URL": "https://hooks.example",
    "PREFECT_API_URL": "http://prefect.example/api",
    "prefect_api_key": "theirs",
    "HTTPS_PROXY": "http://proxy.example",
    "http_proxy": "http://proxy.example",
    "AWS_PROFILE": "theirs",
    "PGSSLMODE": "disable",
}
KEPT = {"FERRY_MYSQLD": "/of/theirs", "TZ": "UTC", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


def test_the_settings_of_the_machine_are_forgotten_but_for_the_mysql_that_it_names() -> None:
    forget_settings(environment := {**THEIRS, **KEPT})
    assert environment == KEPT


def test_a_process_of_the_run_keeps_what_the_first_one_has_set() -> None:
    forget_settings(environment := {"PREFECT_API_URL": "ours", "PYTEST_XDIST_WORKER": "gw1"})
    assert environment["PREFECT_API_URL"] == "ours"


def test_no_profile_and_no_key_of_somebody_s_home_is_found_here_or_in_processes_of_the_run(
    tmp_path: Path,
) -> None:
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect/profiles.toml").write_text(
        'active = "theirs"\n[profiles.theirs]\nPREFECT_API_URL = "http://prefect.example/api"'
    )
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = theirs\naws_secret_access_key = theirs"
    )
    code = (
        "import boto3\nfrom prefect.settings import PREFECT_API_URL\n"
        "print(PREFECT_API_URL.value(), boto3.Session().get_credentials())"
    )
    keys = {"AWS_EC2_METADATA_DISABLED": "true"}  # no machine's role is asked for
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **keys, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    url, keys_found = done.stdout.split()
    assert (url, keys_found) == (os.environ.get("PREFECT_API_URL", "None"), "None"), done.stderr
