"""What only S3 does: timeouts, what is read back, encryption, and its block."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from prefect_aws import AwsCredentials
from pydantic import ValidationError

from blocks.stages import S3Stage
from blocks.stages.digests import Digests
from deployments.local.servers import S3, PrefectServer, RcloneS3, free_port
from ferry.batch import PartFile, StagedFile
from ferry.errors import (
    AccessError,
    BusyError,
    ConfigurationError,
    ConnectionLostError,
    DataError,
    FatalError,
)
from tests.blocks.stages.s3_server import SECRET, answers, refuse, server, stage


def test_a_server_that_cannot_be_reached_is_worth_a_retry(part: PartFile) -> None:
    with pytest.raises(ConnectionLostError):
        stage(f"http://127.0.0.1:{free_port()}").put(part, "t/part")


def test_a_server_that_never_answers_is_given_up_after_the_time_limit(part: PartFile) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        silent = stage(f"http://127.0.0.1:{deaf.getsockname()[1]}", read_timeout_seconds=0.5)
        started = time.monotonic()
        with pytest.raises(ConnectionLostError):
            silent.put(part, "t/part")
        assert time.monotonic() - started < 45  # of 60 for each attempt by default


def test_a_busy_server_is_tried_as_often_as_the_block_says(part: PartFile) -> None:
    with server(refuse(503, "SlowDown")) as (endpoint, seen):
        with pytest.raises(BusyError):
            stage(endpoint, max_attempts=3).write_manifest([], "t/manifest.json")
        assert len(seen) == 3


def cut_short(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b"half")


def test_a_stream_that_is_cut_does_not_end_as_if_it_were_whole() -> None:
    with server(cut_short) as (endpoint, _), pytest.raises(ConnectionLostError):
        stage(endpoint).open(StagedFile("k", "", 1000, 1)).read()


def test_what_was_stored_is_read_back_where_its_digest_is_not_told(part: PartFile) -> None:
    content = part.path.read_bytes()
    with server(answers(content)) as (endpoint, seen):
        assert stage(endpoint).put(part, "k").size_bytes == 1000
    assert seen == ["PUT", "GET"]


@pytest.mark.parametrize("stored", [b"0123456789" * 99, b"1123456789" * 100, b""])
@pytest.mark.parametrize("told", [{}, {"x_amz_checksum_sha256": "AAAA"}])
def test_a_server_that_has_other_bytes_than_were_sent_is_found_out(
    part: PartFile, stored: bytes, told: dict[str, str]
) -> None:
    with (
        server(answers(stored, **told)) as (endpoint, seen),
        pytest.raises(ConnectionLostError, match=f"not what was sent.*{part.sha256}|Checksum"),
    ):
        stage(endpoint).put(part, "k")
    assert seen == ["PUT", "GET", "POST"]  # it is removed


def test_what_was_stored_stays_when_it_could_not_be_read_back(part: PartFile) -> None:
    def cut(request: BaseHTTPRequestHandler) -> None:
        answers(b"")(request) if request.command == "PUT" else cut_short(request)

    with (
        server(cut) as (endpoint, seen),
        pytest.raises(ConnectionLostError, match="connection failed"),
    ):
        stage(endpoint).put(part, "k")
    assert seen == ["PUT", "GET"]  # nobody knows if it is another one


def test_a_server_that_answers_with_the_digest_is_asked_once(part: PartFile) -> None:
    digest = base64.b64encode(bytes.fromhex(part.sha256)).decode()

    def knows(request: BaseHTTPRequestHandler) -> None:
        told = request.headers["x-amz-checksum-sha256"]
        assert told == digest  # so that S3 takes no other bytes
        answers(b"", x_amz_checksum_sha256=told)(request)

    with server(knows) as (endpoint, seen):
        assert stage(endpoint).put(part, "k").size_bytes == 1000
    assert seen == ["PUT"]


@pytest.fixture
def large_part(tmp_path: Path) -> PartFile:
    content = os.urandom((33 << 20) + 1)
    path = tmp_path / "large"
    path.write_bytes(content)
    return PartFile(path, 10, len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("calculation", ["when_supported", "when_required"])
def test_a_part_in_pieces_is_verified_by_its_digest(
    s3: S3, bucket: str, large_part: PartFile, calculation: str
) -> None:
    whole = stage(s3.endpoint, bucket)
    parameters = whole.credentials.aws_client_parameters
    parameters.config = {**parameters.config, "request_checksum_calculation": calculation}
    whole.put(large_part, "k")
    found = s3.client().head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    with large_part.path.open("rb") as file:
        expected = Digests.of(file).of_chunks
    s3.client().delete_object(Bucket=bucket, Key="k")  # a large one, in the server's memory
    told = found.get("ChecksumSHA256", "").partition("-")[0] == expected
    assert told is (calculation == "when_supported")


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: bytes([c[0] ^ 1]) + c[1:]])
@pytest.mark.parametrize(
    ("which", "call"), [("part", "PutObject"), ("large_part", "CompleteMultipartUpload")]
)
def test_an_upload_that_arrives_cut_or_altered_is_found_out_and_removed(
    s3: S3,
    bucket: str,
    request: pytest.FixtureRequest,
    which: str,
    call: str,
    damage: Callable[[bytes], bytes],
) -> None:
    part: PartFile = request.getfixturevalue(which)
    damaged = stage(s3.endpoint, bucket, connect_timeout_seconds=9.5)  # a client of its own
    other = s3.client()

    def alter(parsed: dict[str, Any], **_: Any) -> None:
        other.put_object(Bucket=bucket, Key="k", Body=damage(part.path.read_bytes()))
        parsed.pop("ChecksumSHA256", None)

    events = damaged._client().meta.events
    events.register(f"after-call.s3.{call}", alter)
    try:
        with pytest.raises(ConnectionLostError, match="not what was sent"):
            damaged.put(part, "k")
    finally:
        events.unregister(f"after-call.s3.{call}", alter)
    assert "Contents" not in other.list_objects_v2(Bucket=bucket)


def test_a_part_that_is_not_as_it_was_written_is_not_stored(part: PartFile) -> None:
    for content in (b"short", b"1123456789" * 100):
        part.path.write_bytes(content)
        with pytest.raises(DataError, match="has changed"):
            stage("http://127.0.0.1:1").put(part, "k")


def test_a_part_is_not_read_through_a_link(part: PartFile) -> None:
    moved = part.path.rename(part.path.with_name("elsewhere"))
    part.path.symlink_to(moved)
    with pytest.raises(FatalError, match="cannot be read"):
        stage("http://127.0.0.1:1").put(part, "k")


@pytest.mark.parametrize("endpoint", ["not a url", "ftp:/nowhere"])
def test_an_endpoint_that_is_no_url_is_a_setting_to_correct(part: PartFile, endpoint: str) -> None:
    with pytest.raises(ConfigurationError):
        stage(endpoint).put(part, "k")


def test_a_missing_profile_is_a_setting_to_correct(part: PartFile) -> None:
    credentials = AwsCredentials(profile_name="there-is-none")
    with pytest.raises(ConfigurationError):
        S3Stage(bucket_name="b", credentials=credentials).put(part, "k")


def test_files_are_encrypted_as_the_block_says(s3: S3, bucket: str, part: PartFile) -> None:
    encrypted = stage(
        s3.endpoint, bucket, server_side_encryption="aws:kms", kms_key_id="alias/ferry"
    )
    for file in (encrypted.put(part, "k"), encrypted.write_manifest([], "m")):
        found = s3.client().head_object(Bucket=bucket, Key=file.key)
        assert found["ServerSideEncryption"] == "aws:kms"
        assert "ferry" in found["SSEKMSKeyId"]


def test_a_key_without_kms_is_refused_by_the_form() -> None:
    with pytest.raises(ValidationError, match="aws:kms"):
        S3Stage(bucket_name="b", kms_key_id="k")


def test_more_files_than_one_request_takes_are_discarded(s3: S3, bucket: str) -> None:
    client = s3.client()
    keys = [f"k{n}" for n in range(1003)]
    for key in (keys[0], keys[-1], "other"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    stage(s3.endpoint, bucket).discard(keys)
    left = client.list_objects_v2(Bucket=bucket)["Contents"]
    assert [item["Key"] for item in left] == ["other"]


@pytest.mark.parametrize(
    ("status", "code"), [(400, "MissingContentMD5"), (501, "NotImplemented"), (405, ""), (501, "")]
)
def test_where_several_files_are_not_removed_at_once_each_is_by_itself(
    status: int, code: str
) -> None:
    """As by servers that want an MD5, which boto sends no more, and by Google's."""

    def some(request: BaseHTTPRequestHandler) -> None:
        if request.command == "POST":
            refuse(status, code)(request)
        elif "gone" in request.path:
            refuse(404, "NoSuchKey")(request)
        else:
            answers(b"")(request)

    with server(some) as (endpoint, seen):
        stage(endpoint).discard(["a", "gone", "b"])
    assert seen == ["POST", "DELETE", "DELETE", "DELETE"]


def test_a_file_that_nobody_may_remove_is_told() -> None:
    with (
        server(refuse(403, "AccessDenied")) as (endpoint, seen),
        pytest.raises(AccessError, match="removing 1 files"),
    ):
        stage(endpoint).discard(["a"])
    assert seen == ["POST"]


def test_a_whole_bucket_is_never_searched_for_old_files(s3: S3, bucket: str) -> None:
    from datetime import UTC, datetime

    with pytest.raises(ConfigurationError, match="prefix"):
        stage(s3.endpoint, bucket).discard_older("", datetime.now(UTC))


def test_the_block_is_saved_and_loaded_with_its_credentials(
    prefect_server: PrefectServer, s3: S3, bucket: str, part: PartFile
) -> None:
    stage(s3.endpoint, bucket, prefix="p").save("a-stage", overwrite=True)
    loaded = S3Stage.load("a-stage")
    assert loaded.put(part, "k").uri == f"s3://{bucket}/p/k"
    assert SECRET not in repr(loaded) + str(loaded)


@pytest.mark.skipif(
    not RcloneS3.available(), reason="rclone comes for Python 3.12 and later; moto checks no keys"
)
def test_a_wrong_secret_is_an_access_error(tmp_path: Path, part: PartFile) -> None:
    with RcloneS3.start(tmp_path / "rclone") as rclone:
        with pytest.raises(AccessError) as caught:
            stage(rclone.endpoint, rclone.bucket).put(part, "k")
        assert SECRET not in str(caught.value)
        assert rclone.secret_key not in str(caught.value)
        right = stage(rclone.endpoint, rclone.bucket, rclone.secret_key)
        assert right.put(part, "k").size_bytes == part.size_bytes
