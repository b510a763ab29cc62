"""`make` sets up what it needs on machines that are set up otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile, where nothing has to be installed into the environment."""
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "requirements.lock").touch()
    return tmp_path


def run_make(folder: Path, *arguments: str, **settings: str) -> str:
    """What it says; fails where it fails. It knows nothing of a `make` that has begun the tests."""
    ours = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={**ours, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_an_environment_that_was_left_without_pip_is_made_once_more(checkout: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    run_make(checkout, ".venv/.installed", f"PYTHON={sys.executable}")


def test_it_installs_where_pip_is_set_up_to_install_for_the_user(checkout: Path) -> None:
    (checkout / "requirements-dev.lock").touch()
    (python := checkout / ".venv" / "bin" / "python").parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')  # an environment that has pip
    python.chmod(0o755)
    run_make(checkout, ".venv/.installed-dev", f"PYTHON={sys.executable}", PIP_USER="1")


@pytest.mark.parametrize(
    ("theirs", "meant"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "a.test"}, "a.test,127.0.0.1,localhost"),
        ({"NO_PROXY": "a.test", "no_proxy": "b.test"}, "b.test,127.0.0.1,localhost"),
        ({"NO_PROXY": "*"}, "*"),  # which counts alone: in a list it means nothing to pip
    ],
)
def test_a_proxy_is_not_asked_for_this_machine(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, theirs: dict[str, str], meant: str
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    (checkout / "shown.mk").write_text('shown:\n\t@echo "$$NO_PROXY $$no_proxy"\n')
    shown = run_make(checkout, "-f", "Makefile", "-f", "shown.mk", "shown", **theirs)
    assert shown.split() == [meant, meant]
