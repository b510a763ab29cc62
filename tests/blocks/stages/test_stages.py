"""What every stage promises, over every stage there is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect_aws import AwsCredentials

from blocks.stage import Stage
from blocks.stages import STAGES, FolderStage, S3Stage
from deployments.local.servers import S3, RcloneS3
from ferry.batch import PartFile, StagedFile
from ferry.errors import AccessError, FatalError, FerryError, RequestError

KEY = "raw_data.nps/2023-01-05T03:00+01:00/1b9d/part-00000.csv.zst"
NEEDS_RCLONE = pytest.mark.skipif(
    not RcloneS3.available(), reason="rclone comes for Python 3.12 and later"
)


@dataclass
class Case:
    """A stage, and another that is just like it but for a place that does not exist."""

    stage: Stage
    homeless: Stage
    uri_start: str


def s3_case(server: S3 | RcloneS3, bucket: str, prefix: str) -> Case:
    def stage(bucket_name: str) -> S3Stage:
        return S3Stage(
            bucket_name=bucket_name,
            prefix=prefix,
            credentials=s3_credentials(server.endpoint, server.access_key, server.secret_key),
            max_attempts=1,
        )

    uri_start = f"s3://{bucket}/{prefix}/" if prefix else f"s3://{bucket}/"
    return Case(stage(bucket), stage("no-such-bucket-here"), uri_start)


def s3_credentials(endpoint: str, access_key: str, secret_key: str) -> AwsCredentials:
    return AwsCredentials(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        aws_client_parameters={
            "endpoint_url": endpoint,
            "config": {"s3": {"addressing_style": "path"}},
        },
    )


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneS3]:
    server = RcloneS3.start(tmp_path_factory.mktemp("rclone"))
    yield server
    server.stop(discard=True)


@pytest.fixture(params=["folder", "moto", pytest.param("rclone", marks=NEEDS_RCLONE)])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    if request.param == "folder":
        (tmp_path / "stage").mkdir()
        return Case(
            FolderStage(path=tmp_path / "stage"),
            FolderStage(path=tmp_path / "no-such-folder"),
            f"file://{tmp_path}/stage/",
        )
    if request.param == "moto":
        bucket = request.getfixturevalue("bucket")
        return s3_case(request.getfixturevalue("s3"), bucket, "some/where")
    server = request.getfixturevalue("rclone")
    name = f"bucket-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    return s3_case(server, server.make_bucket(name), "some/where")


@pytest.fixture
def make_part(tmp_path: Path) -> Callable[..., PartFile]:
    def make(content: bytes = b"some bytes \0\xff", rows: int = 3) -> PartFile:
        digest = hashlib.sha256(content).hexdigest()
        path = tmp_path / f"part-{digest[:8]}"
        path.write_bytes(content)
        return PartFile(path, rows, len(content), digest)

    return make


def content(stage: Stage, file: StagedFile) -> bytes:
    with stage.open(file) as stream:
        return stream.read()


def test_every_stage_is_under_test() -> None:
    assert {S3Stage, FolderStage} == set(STAGES)


def test_what_is_put_is_there(case: Case, make_part: Callable[..., PartFile]) -> None:
    part = make_part()
    staged = case.stage.put(part, KEY)
    assert staged == StagedFile(KEY, case.uri_start + KEY, part.size_bytes, 3)
    assert content(case.stage, staged) == part.path.read_bytes()


def test_an_empty_part_and_a_large_one_arrive_whole(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    for name, size_bytes in (("empty", 0), ("large", 17 << 20)):  # the large one in two pieces
        part = make_part(b"\xab\xcd" * (size_bytes // 2))
        staged = case.stage.put(part, f"t/{name}")
        assert staged.size_bytes == size_bytes
        with case.stage.open(staged) as stream:
            assert hashlib.file_digest(stream, "sha256").hexdigest() == part.sha256
        case.stage.discard([staged.key])


def test_a_file_is_read_piece_by_piece(case: Case, make_part: Callable[..., PartFile]) -> None:
    staged = case.stage.put(make_part(b"0123456789" * 300_000), "t/f")
    with case.stage.open(staged) as stream:
        assert stream.read(4) == b"0123"
        assert stream.read(7) == b"4567890"
        assert len(stream.read()) == 3_000_000 - 11


def test_putting_a_part_again_changes_nothing(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    part = make_part()
    assert case.stage.put(part, KEY) == case.stage.put(part, KEY)
    assert content(case.stage, case.stage.put(part, KEY)) == part.path.read_bytes()


def test_the_manifest_lists_every_file_as_mandatory_with_its_size(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    files = [case.stage.put(make_part(b"x" * n, rows=n), f"t/part-{n}") for n in (1, 22)]
    manifest = case.stage.write_manifest(files, "t/manifest.json")
    text = content(case.stage, manifest)
    assert manifest.uri == case.uri_start + "t/manifest.json"
    assert manifest.size_bytes == len(text)
    assert json.loads(text) == {
        "entries": [
            {
                "url": f"{case.uri_start}t/part-{n}",
                "mandatory": True,
                "meta": {"content_length": n},
            }
            for n in (1, 22)
        ]
    }


def test_a_manifest_does_not_list_a_file_twice(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    file = case.stage.put(make_part(), "t/f")
    with pytest.raises(RequestError, match="twice"):
        case.stage.write_manifest([file, file], "t/manifest.json")


def test_a_record_takes_the_place_of_the_one_before_and_is_discarded_like_a_file(
    case: Case,
) -> None:
    assert case.stage.read_record("t/b/pieces.json") is None
    for text in (b"the first, which is longer", b"", "ä".encode()):
        record = case.stage.write_record(text, "t/b/pieces.json")
        assert (record.size_bytes, record.rows) == (len(text), 0)
        assert case.stage.read_record("t/b/pieces.json") == text
    case.stage.discard([record.key])
    assert case.stage.read_record("t/b/pieces.json") is None
    with pytest.raises(AccessError):
        case.homeless.read_record("t/b/pieces.json")
    with pytest.raises(AccessError):
        case.homeless.write_record(b"", "t/b/pieces.json")


def test_what_is_stored_in_a_folder_is_told_as_it_was_stored(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    part = make_part()
    files = [case.stage.put(part, f"t/b/{name}") for name in ("one", "deep/two")]
    case.stage.put(part, "t/b2/three")
    expected = {file.key: replace(file, rows=0) for file in files}
    assert case.stage.stored_under("t/b") == expected
    assert case.stage.stored_under("t/nowhere") == {}
    with pytest.raises(AccessError):
        case.homeless.stored_under("t/b")


def test_discard_removes_just_these_files_and_may_be_repeated(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    part = make_part()
    one, two, three = (case.stage.put(part, f"t/{name}") for name in ("one", "two", "two.bak"))
    case.stage.discard([one.key, two.key])
    case.stage.discard([one.key, two.key])
    case.stage.discard([])
    assert content(case.stage, three) == part.path.read_bytes()
    for gone in (one, two):
        with pytest.raises(FatalError, match="no such file"):
            content(case.stage, gone)


def test_discard_older_removes_what_is_under_the_prefix_and_older(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    part = make_part()
    inside = [case.stage.put(part, f"raw.nps/day/{n}") for n in range(3)]
    sibling = case.stage.put(part, "raw.nps_old/day/0")
    hour = timedelta(hours=1)
    assert case.stage.discard_older("raw.nps", datetime.now(UTC) - hour) == 0
    assert content(case.stage, inside[0])
    assert case.stage.discard_older("raw.nps", datetime.now(UTC) + hour) == 3
    assert case.stage.discard_older("raw.nps", datetime.now(UTC) + hour) == 0
    with pytest.raises(FatalError):
        content(case.stage, inside[0])
    assert content(case.stage, sibling)
    assert case.stage.discard_older("", datetime.now(UTC) + hour) == 1


def test_the_clock_of_the_stage_is_the_one_by_which_files_grow_old(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    before = case.stage.now()
    case.stage.put(make_part(), "t/part")
    assert abs(before - datetime.now(UTC)) < timedelta(seconds=5)  # on one machine all agree
    assert case.stage.discard_older("t", before - timedelta(seconds=2)) == 0
    assert case.stage.discard_older("t", case.stage.now() + timedelta(seconds=2)) == 1
    with pytest.raises(AccessError):
        case.homeless.now()


def test_discard_older_wants_a_moment_with_a_zone(case: Case) -> None:
    with pytest.raises(RequestError, match="zone"):
        case.stage.discard_older("t", datetime(2023, 1, 1))


def test_a_key_cannot_leave_the_stage(case: Case, make_part: Callable[..., PartFile]) -> None:
    part, stage = make_part(), case.stage
    attempts: tuple[Callable[[str], object], ...] = (
        lambda key: stage.put(part, key),
        lambda key: stage.write_manifest([], key),
        lambda key: stage.open(StagedFile(key, "", 0, 0)),
        lambda key: stage.discard([key]),
    )
    for key in ("", "/etc/passwd", "../up", "a/../../up", "a//b", "a/", "a\n"):
        for attempt in attempts:
            with pytest.raises(RequestError, match="key"):
                attempt(key)


def test_a_place_that_does_not_exist_is_an_access_error_that_names_it(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    part = make_part()
    for attempt in (
        lambda: case.homeless.put(part, KEY),
        lambda: case.homeless.write_manifest([], KEY),
        lambda: case.homeless.open(StagedFile(KEY, "", 0, 0)),
        lambda: case.homeless.discard_older("t", datetime.now(UTC)),
    ):
        with pytest.raises(AccessError, match="no-such-"):
            attempt()


def test_a_part_that_is_gone_from_this_machine_is_told(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    part = make_part()
    part.path.unlink()
    with pytest.raises(FatalError, match="not on this machine"):
        case.stage.put(part, KEY)


def test_a_file_is_not_stored_when_the_part_was_cut(
    case: Case, make_part: Callable[..., PartFile]
) -> None:
    part = make_part(b"0123456789")
    part.path.write_bytes(b"01234")
    with pytest.raises(FerryError):
        case.stage.put(part, KEY)
