"""With which keys and rights an S3 stage asks, and what is said when there are none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError, CredentialRetrievalError
from botocore.stub import Stubber
from prefect_aws import AwsCredentials

from blocks.stages import S3Stage
from blocks.stages.s3_client import keys_are_renewed, new_client
from blocks.stages.s3_errors import explain
from deployments.local.servers import S3
from ferry.batch import PartFile, StagedFile
from ferry.errors import AccessError, ConnectionLostError, FerryError, is_retriable
from tests.blocks.stages.s3_server import BY_SSO, WITH_TOKEN, answers, refusal, refuse, server


def own_role(s3: S3, bucket: str, config: Any = None) -> S3Stage:
    """A stage of a machine whose role is all that it has."""
    parameters = {"endpoint_url": s3.endpoint, "config": config or {}}
    credentials = AwsCredentials(region_name="us-east-1", aws_client_parameters=parameters)
    return S3Stage(bucket_name=bucket, credentials=credentials, max_attempts=1)


class NoKeys(boto3.Session):
    """What there is after the metadata service did not answer."""

    def get_credentials(self) -> None:
        return None


def test_one_answer_missed_by_the_metadata_service_costs_one_attempt(
    s3: S3, bucket: str, part: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [NoKeys(), boto3.Session("ferry", "secret")]
    monkeypatch.setattr(AwsCredentials, "get_boto3_session", lambda _: sessions.pop(0))
    stage = own_role(s3, bucket)
    with pytest.raises(ConnectionLostError, match=r"did not answer.*has no role") as caught:
        stage.put(part, "k")
    assert is_retriable(caught.value)
    assert stage.put(part, "k").size_bytes == part.size_bytes


@pytest.mark.parametrize("provider", ["iam-role", "container-role", "custom-process"])
def test_what_gives_no_keys_is_named_and_asked_again(provider: str) -> None:
    error = CredentialRetrievalError(provider=provider, error_msg="secret")
    explained = explain(error, "b", "storing 'k'")
    assert type(explained) is ConnectionLostError
    assert explained.found == provider
    assert ("own role" in str(explained)) is provider.endswith("role")
    assert "secret" not in str(explained)


@pytest.mark.parametrize(
    ("given", "environment", "come_later"),
    [
        ({}, {}, True),
        ({"profile_name": "p"}, {}, True),
        ({"profile_name": "p"}, {"AWS_ACCESS_KEY_ID": "k"}, True),  # which boto does not look at
        ({}, {"AWS_ACCESS_KEY_ID": "k"}, False),
        ({"aws_access_key_id": "k", "aws_secret_access_key": "s"}, {}, False),
    ],
)
def test_keys_come_later_but_for_those_of_the_block_and_of_the_environment(
    given: dict[str, Any],
    environment: dict[str, str],
    come_later: bool,
    part: PartFile,
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(AwsCredentials, "get_boto3_session", lambda _: NoKeys())
    stage = S3Stage(bucket_name="b", credentials=AwsCredentials(region_name="us-west-1", **given))
    with pytest.raises(FerryError) as caught:
        stage.put(part, "k")
    assert is_retriable(caught.value) is come_later


def test_a_bucket_that_takes_unsigned_requests_needs_no_credentials(
    s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AwsCredentials, "get_boto3_session", lambda _: NoKeys())
    client = own_role(s3, bucket, Config(signature_version=UNSIGNED))._client()
    request = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert "Signature" not in request


def test_a_role_that_cannot_be_assumed_is_told_when_a_record_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: AwsCredentials) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole")

    monkeypatch.setattr(AwsCredentials, "get_boto3_session", refused)
    with pytest.raises(AccessError, match=r"'pieces\.json'.*cannot be assumed"):
        S3Stage(bucket_name="a-bucket-of-its-own").read_record("pieces.json")


@pytest.mark.parametrize(("prefix", "asked"), [("stage/", "stage/"), ("a/b", "a/b/"), ("", "")])
def test_the_clock_is_asked_within_the_folder_that_a_policy_allows(
    prefix: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.Session("ferry", "secret").client("s3", region_name="us-east-1")
    date = {"HTTPHeaders": {"date": "Thu, 05 Jan 2023 03:04:05 GMT"}}
    monkeypatch.setattr(S3Stage, "_client", lambda _: client)
    with Stubber(client) as stubbed:  # which refuses any other request
        expected = {"Bucket": "b", "Prefix": asked, "MaxKeys": 1}
        stubbed.add_response("list_objects_v2", {"ResponseMetadata": date}, expected)
        found = S3Stage(bucket_name="b", prefix=prefix).now()
    assert found == datetime(2023, 1, 5, 3, 4, 5, tzinfo=UTC)


def test_a_profile_that_wants_a_code_of_somebody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def asks(_: AwsCredentials) -> None:
        raise EOFError  # of the prompt, as a worker has nobody to ask

    monkeypatch.setattr(AwsCredentials, "get_boto3_session", asks)
    credentials = AwsCredentials(profile_name="guarded", region_name="us-east-1")
    with pytest.raises(AccessError, match="cannot be asked"):
        S3Stage(bucket_name="b", credentials=credentials).now()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the files in which this machine has its keys; it has no others."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    new_client.cache_clear()
    return tmp_path


def write_keys(own: Path, key: str, profile: str = "default") -> None:
    text = f"[{profile}]\naws_access_key_id={key}\naws_secret_access_key=s\n"
    (own / "credentials").write_text(text)


def without_keys(endpoint: str, **given: Any) -> S3Stage:
    """A stage whose block has no more than these."""
    parameters = {"endpoint_url": endpoint, "config": {"s3": {"addressing_style": "path"}}}
    credentials = AwsCredentials(region_name="us-east-1", aws_client_parameters=parameters, **given)
    return S3Stage(bucket_name="b", credentials=credentials)


@pytest.mark.parametrize(
    ("status", "code"), [(400, "ExpiredToken"), (403, "InvalidAccessKeyId")], ids=["over", "gone"]
)
def test_keys_that_were_renewed_in_a_file_are_taken_up_at_once(
    own: Path, part: PartFile, status: int, code: str
) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        expired = expires and "Credential=OLD/" in request.headers["Authorization"]
        (refuse(status, code) if expired else answers(content))(request)

    content, expires = part.path.read_bytes(), list[bool]()
    with server(answer) as (endpoint, _):
        stage = without_keys(endpoint)
        asked: list[Callable[[], object]] = [
            lambda: stage.put(part, "k"),
            lambda: stage.write_record(content, "k"),
            lambda: stage.read_record("k"),
            lambda: stage.open(StagedFile("k", "", len(content), 1)).read(),
            lambda: stage.discard(["k"]),
        ]
        for ask in asked:
            expires.clear()
            new_client.cache_clear()
            write_keys(own, "OLD")
            ask()
            write_keys(own, "NEW")
            expires.append(True)
            ask()


@pytest.mark.parametrize("of", ["file", "profile", "environment", "block"])
@pytest.mark.parametrize(
    ("status", "code"), [(400, "ExpiredToken"), (403, "InvalidAccessKeyId")], ids=["over", "wrong"]
)
def test_keys_that_nobody_knows_are_not_waited_for(
    own: Path, monkeypatch: pytest.MonkeyPatch, of: str, status: int, code: str
) -> None:
    """Three batches that are refused access end a backfill; each would read, and wait, in vain."""
    given: dict[str, Any] = {}
    if of == "block":
        given = {"aws_access_key_id": "WRONG", "aws_secret_access_key": "s"}
    elif of == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "WRONG")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    else:
        write_keys(own, "WRONG", "p" if of == "profile" else "default")
        given = {"profile_name": "p"} if of == "profile" else {}
    renewed = of in ("file", "profile")
    with server(refuse(status, code)) as (endpoint, seen), pytest.raises(FerryError) as caught:
        without_keys(endpoint, **given).read_record("k")
    assert len(seen) == (2 if renewed else 1)
    kind = ConnectionLostError if renewed and code == "ExpiredToken" else AccessError
    assert type(caught.value) is kind
    if kind is AccessError:
        assert ("the server does not know" in str(caught.value)) is renewed


@pytest.mark.parametrize(("role", "renewed"), [(None, False), ("arn:aws:iam::1:role/r", True)])
def test_a_role_that_the_environment_s_keys_assume_gives_others(
    monkeypatch: pytest.MonkeyPatch, role: str | None, renewed: bool
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    assert keys_are_renewed(AwsCredentials(assume_role_arn=role)) is renewed


@pytest.mark.parametrize("profile", ["default", "p"])
def test_a_program_that_fails_to_give_keys_for_a_second_is_asked_again(
    own: Path, profile: str
) -> None:
    program, keys = own / "program", own / "keys"
    keys.write_text('{"Version": 1, "AccessKeyId": "k", "SecretAccessKey": "s"}')
    program.write_text(f"test -e {own}/failed && exec cat {keys}\n>{own}/failed\nexit 1\n")
    section = profile if profile == "default" else f"profile {profile}"
    (own / "config").write_text(f"[{section}]\ncredential_process = sh {program}\n")
    given = {} if profile == "default" else {"profile_name": profile}
    with server(answers(b"{}")) as (endpoint, _):
        stage = without_keys(endpoint, **given)
        with pytest.raises(ConnectionLostError, match="found custom-process") as caught:
            stage.read_record("k")
        assert "role" not in str(caught.value)
        assert stage.read_record("k") == b"{}"


@pytest.mark.parametrize(
    ("code", "operation", "kind"),
    [
        ("ExpiredToken", "AssumeRole", ConnectionLostError),
        ("InvalidClientTokenId", "AssumeRole", AccessError),
        ("ExpiredTokenException", WITH_TOKEN, ConnectionLostError),
        ("ExpiredTokenException", BY_SSO, AccessError),  # somebody has to log in
    ],
)
def test_keys_by_which_a_role_is_had_may_have_been_renewed_too(
    code: str, operation: str, kind: type[FerryError]
) -> None:
    explained = explain(refusal(code, operation), "b", "storing 'k'", renewed=True)
    assert type(explained) is kind
