"""Registration refuses what is wrong before it saves anything, and never prints a secret."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prefect.blocks.notifications import SlackWebhook
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import SecretStr

from blocks.notifier import load_notifier, slack_webhook
from deployments import register
from deployments.local.servers import PrefectServer
from ferry.errors import ConfigurationError

TOKEN = "p1antedp1antedp1anted1234"
GOOD = f"https://hooks.slack.com/services/T0P1ANTED/B0P1ANTED/{TOKEN}"
UNREADABLE = [
    GOOD.replace("https", "htps"),
    GOOD.replace("https://", ""),
    GOOD.replace("hooks.slack.com", "hooks.slack.com.example"),
    GOOD.replace("/B0P1ANTED", ""),
    GOOD.replace("/services", ""),
    f"<{GOOD}>",
    TOKEN,
]


@dataclass(frozen=True)
class Ended:
    """How the command ended, and what it printed."""

    error: str
    printed: str


def run_register(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], **settings: str
) -> Ended:
    """Register with these settings alone, which has to end with an error."""
    for name in [name for name in os.environ if name.startswith("FERRY_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["register", "--profile", "embedded"])
    monkeypatch.setattr(register, "_save", lambda *_: pytest.fail("a block is saved"))
    with pytest.raises(SystemExit) as ended:
        register.main()
    printed = capfd.readouterr()
    return Ended(str(ended.value), printed.out + printed.err)


@pytest.mark.parametrize("address", UNREADABLE)
def test_an_address_that_cannot_be_read_is_refused_and_not_shown(
    address: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigurationError) as refused:
        slack_webhook(address)
    printed = capfd.readouterr()
    told = f"{refused.value} {refused.value!r} {caplog.text} {printed.out} {printed.err}"
    assert TOKEN not in told and "P1ANTED" not in told
    assert "hooks.slack.com" in str(refused.value)


@pytest.mark.parametrize("host", ["hooks.slack.com", "hooks.slack-gov.com"])
def test_slack_s_addresses_are_taken(host: str) -> None:
    address = GOOD.replace("hooks.slack.com", host)
    assert slack_webhook(address).url.get_secret_value() == address


def test_registration_ends_with_an_error_and_saves_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ended = run_register(
        monkeypatch, capfd, FERRY_NOTIFY_SLACK_URL=UNREADABLE[0], FERRY_DATA=str(tmp_path)
    )
    assert "FERRY_NOTIFY_SLACK_URL" in ended.error
    assert TOKEN not in ended.error + ended.printed
    assert "registered" not in ended.printed


def test_an_address_in_the_place_of_a_block_s_name_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ended = run_register(monkeypatch, capfd, FERRY_NOTIFY=GOOD, FERRY_DATA=str(tmp_path))
    assert "FERRY_NOTIFY names no notification block" in ended.error
    assert "FERRY_NOTIFY_SLACK_URL" in ended.error
    assert TOKEN not in ended.error + ended.printed


def test_a_block_whose_address_cannot_be_read_is_refused_and_not_shown(
    prefect_server: PrefectServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # only while it is made
    SlackWebhook(url=SecretStr(UNREADABLE[0])).save("unreadable", overwrite=True)
    logging.getLogger("apprise").setLevel(logging.NOTSET)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigurationError, match="cannot be read"):
        load_notifier("slack-webhook/unreadable")
    printed = capfd.readouterr()
    assert TOKEN not in caplog.text + printed.out + printed.err


@pytest.mark.parametrize("readers", ["0", "-1", "many"])
def test_readers_that_nobody_could_be_are_refused_before_a_block_is_saved(
    readers: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    ended = run_register(monkeypatch, capfd, FERRY_READERS=readers, FERRY_DATA=str(tmp_path))
    assert "FERRY_READERS" in ended.error and "1 or more" in ended.error


@pytest.mark.parametrize("profile", ["local", "aws"])
@pytest.mark.parametrize(
    ("alone", "needed"),
    [
        ("FERRY_S3_SECRET_KEY", "FERRY_S3_ACCESS_KEY"),
        ("FERRY_PRICES_SYMBOLS", "FERRY_PRICES_URL"),
    ],
)
def test_a_setting_that_would_do_nothing_without_another_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str, alone: str, needed: str
) -> None:
    for name in [name for name in os.environ if name.startswith("FERRY_")]:
        monkeypatch.delenv(name)
    for group in ("MYSQL", "WAREHOUSE"):
        for name in ("HOST", "USER", "PASSWORD", "DATABASE"):
            monkeypatch.setenv(f"FERRY_{group}_{name}", "any")
    monkeypatch.setenv("FERRY_S3_BUCKET", "any-bucket")
    monkeypatch.setenv(alone, TOKEN)
    monkeypatch.setattr(register, "_save", lambda *_: pytest.fail("a block is saved"))
    with pytest.raises(ConfigurationError, match=f"{alone} is set, and {needed} is not") as refused:
        register.register(profile)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("value", ["", " "])
def test_a_folder_that_is_set_and_empty_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], value: str
) -> None:
    """It would be the one from which the command is started."""
    ended = run_register(monkeypatch, capfd, FERRY_DATA=value)
    assert "FERRY_DATA is set and empty" in ended.error


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FERRY_MYSQL_PASWORD", "FERRY_MYSQL_PASSWORD"),
        ("FERRY_WAREHOUSE_IAMROLE", "FERRY_WAREHOUSE_IAM_ROLE"),
        ("FERRY_NOTIFY_SLACK", "FERRY_NOTIFY_SLACK_URL"),
        ("FERRY_READER", "FERRY_READERS"),
        ("FERRY_DATE", "FERRY_DATA"),
    ],
)
def test_a_misspelled_setting_says_which_was_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "p1anted")
    with pytest.raises(ConfigurationError) as refused:
        register.register("embedded")
    assert name in str(refused.value) and meant in str(refused.value)
    assert "p1anted" not in str(refused.value)


def test_a_setting_that_no_block_takes_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    address = f"htp://user:{TOKEN}@prices.example/?apikey={TOKEN}"
    settings = {"FERRY_PRICES_URL": address, "FERRY_PRICES_SYMBOLS": "AAPL"}
    ended = run_register(monkeypatch, capfd, FERRY_DATA=str(tmp_path), **settings)
    assert "settings that do not fit: base_url" in ended.error
    assert TOKEN not in ended.error + ended.printed


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (422, "Prefect's server refuses it: HTTP 422. See that its version"),
        (503, "Prefect's server could not do it: HTTP 503. Register once more."),
        (408, "Prefect's server could not do it: HTTP 408. Register once more."),
    ],
)
def test_what_the_server_refuses_to_save_is_not_printed(
    status: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """As one of another version does: it answers with all that it was sent."""

    def refuse(*_: object) -> None:
        request = httpx.Request("POST", f"http://user:{TOKEN}@prefect.example/api/block_documents/")
        body = {"request_body": {"data": {"password": TOKEN}}}
        error = httpx.HTTPStatusError(
            f"Client error for {request.url}",
            request=request,
            response=httpx.Response(status, json=body),
        )
        raise PrefectHTTPStatusError.from_httpx_error(error)

    monkeypatch.setattr(register, "register", refuse)
    ended = run_register(monkeypatch, capfd, FERRY_DATA=str(tmp_path))
    assert told in ended.error
    assert TOKEN not in ended.error + ended.printed


def test_a_link_of_kubernetes_that_has_a_setting_s_name_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FERRY_WAREHOUSE_PORT", "tcp://10.0.0.7:80")
    with pytest.raises(ConfigurationError, match="`enableServiceLinks: false`"):
        register._number("FERRY_WAREHOUSE_PORT", "5439")
