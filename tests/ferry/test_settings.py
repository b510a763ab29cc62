"""A setting that is misspelled is refused, and the one that was meant is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ferry.errors import ConfigurationError
from ferry.settings import ELSEWHERE, SETTINGS, check_settings, notifier_name, refuse_misspelled

ROOT = Path(__file__).parents[2]
ROOMS = ("ferry", "blocks", "tasks", "flows", "deployments")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FERRY_READER", "FERRY_READERS"),
        ("FERRY_TABELS", "FERRY_TABLES"),
        ("FERRY_TABLE", "FERRY_TABLES"),
        ("FERRY_SUMMARY", "FERRY_SUMMARIES"),
        ("FERRY_DATE", "FERRY_DATA"),
        ("FERRY_NOTIFI", "FERRY_NOTIFY"),
        ("FERRY_MYSQL_PASWORD", "FERRY_MYSQL_PASSWORD"),
    ],
)
def test_a_misspelled_setting_says_which_was_meant(name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no setting {name}; expected {meant}"):
        refuse_misspelled(["PATH", *SETTINGS, name])


def test_one_that_is_like_none_says_which_there_are() -> None:
    with pytest.raises(ConfigurationError, match="expected one of FERRY_MYSQL_HOST, "):
        refuse_misspelled(["FERRY_XYZZY"])


def links(*services: str) -> dict[str, str]:
    """What Kubernetes sets in each pod of a namespace that has these services."""
    found = {}
    for service in services:
        address = {"ADDR": "10.0.0.7", "PORT": "80", "PROTO": "tcp"}
        found |= {f"{service}_SERVICE_HOST": "10.0.0.7", f"{service}_SERVICE_PORT": "80"}
        found |= {f"{service}_SERVICE_PORT_HTTP": "80", f"{service}_PORT": "tcp://10.0.0.7:80"}
        found |= {f"{service}_PORT_80_TCP": "tcp://10.0.0.7:80"}
        found |= {f"{service}_PORT_80_TCP_{name}": value for name, value in address.items()}
    return found


def test_the_links_to_a_service_of_kubernetes_are_no_misspelled_settings() -> None:
    """A service `ferry` or `ferry-server` in the namespace puts them into each pod."""
    check_settings(links("FERRY", "FERRY_SERVER"))
    with pytest.raises(ConfigurationError, match="no setting FERRY_TABELS; expected FERRY_TABLES"):
        check_settings(links("FERRY") | {"FERRY_TABELS": "tables.yaml"})
    with pytest.raises(ConfigurationError, match="no setting FERRY_SERVER_PORT"):
        check_settings(links("FERRY") | {"FERRY_SERVER_PORT": "80"})


def test_what_is_known_or_not_ours_is_let_pass() -> None:
    refuse_misspelled([*SETTINGS, *ELSEWHERE, "PATH", "FERRYBOAT", "MY_FERRY_TABLES"])


@pytest.mark.parametrize(
    ("name", "todo"),
    [("FERRY_TABLES", "Unset it, or name a file"), ("FERRY_SUMMARIES", "or name a folder")],
)
@pytest.mark.parametrize("value", ["", " "])
def test_a_place_that_is_set_and_empty_is_refused(name: str, todo: str, value: str) -> None:
    check_settings({"FERRY_TABLES": "tables.yaml", "FERRY_NOTIFY": ""})
    with pytest.raises(ConfigurationError, match=f"{name} is set and empty.*{todo}"):
        check_settings({name: value})


@pytest.mark.parametrize(
    "value",
    [
        "https://hooks.slack.com/services/T0/B0/s3cret",
        "T0/B0/s3cret",
        "slack-webhook/S3cret",
        "s3cret",
        "slack-webhook/ferry s3cret",
    ],
)
def test_what_names_no_block_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"FERRY_NOTIFY names no.*<type>/<name>"
    ) as refused:
        notifier_name({"FERRY_NOTIFY": value})
    assert "s3cret" not in str(refused.value).lower()


def test_the_block_that_is_named_is_taken_and_none_is_no_mistake() -> None:
    assert notifier_name({"FERRY_NOTIFY": "slack-webhook/ferry"}) == "slack-webhook/ferry"
    assert notifier_name({"FERRY_NOTIFY": ""}) is notifier_name({}) is None


def test_every_setting_that_is_read_is_a_known_one_and_every_known_one_is_read() -> None:
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    text = "\n".join(file.read_text() for file in files if file.name != "settings.py")
    read = set(re.findall(r'"(FERRY_[A-Z0-9_]*[A-Z0-9])"', text))
    assert read == {*SETTINGS, *ELSEWHERE}


def test_every_setting_for_people_is_documented() -> None:
    text = "\n".join(file.read_text() for file in (ROOT / "docs").rglob("*.md"))
    text += (ROOT / "deployments" / "register.py").read_text()
    groups = ("FERRY_MYSQL_", "FERRY_S3_", "FERRY_WAREHOUSE_")
    assert [name for name in SETTINGS if not name.startswith(groups) and name not in text] == []
