"""Part files in an S3 bucket, or in one of a server that speaks S3."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import Any, BinaryIO, Literal, Self

from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]
from botocore.exceptions import ClientError, FlexibleChecksumError  # type: ignore[import-untyped]
from pydantic import Field, model_validator

from blocks.little_memory import without_ecs_worker
from blocks.stage import Stage
from blocks.stages.digests import CHUNK_BYTES, Digests
from blocks.stages.keys import (
    changed_part,
    checked_key,
    checked_moment,
    open_part,
)
from blocks.stages.s3_client import (
    CLIENT_SECONDS,
    keys_are_renewed,
    new_client,
    with_new_keys,
)
from blocks.stages.s3_errors import code_of, explain_code, explained, explained_body
from ferry.batch import PartFile, StagedFile
from ferry.errors import ConfigurationError, ConnectionLostError, FerryError

with without_ecs_worker():
    from prefect_aws import AwsCredentials

_DELETE_AT_ONCE = 1000  # what DeleteObjects takes
_NOT_AT_ONCE = {
    "MissingContentMD5",  # boto sends a CRC32 instead, which older servers do not know
    "NotImplemented",  # Google's
    "InvalidRequest",
    "MethodNotAllowed",
    "405",  # as an answer without a text is called
    "501",
}
"""How servers that only speak S3 refuse DeleteObjects as such: each file is removed by itself."""


class S3Stage(Stage):
    """An S3 bucket in which part files wait for the warehouse.

    Keys are relative to `prefix`; URIs are whole: `s3://<bucket>/<prefix>/<key>`. What was stored
    is verified by its SHA-256, which S3 answers with; where it does not, the bytes are read back.

    Example:
        ```python
        from prefect_aws import AwsCredentials
        from blocks.stages import S3Stage

        S3Stage(
            bucket_name="my-company-ferry",
            prefix="stage",
            credentials=AwsCredentials(region_name="eu-central-1"),
        ).save("warehouse-stage", overwrite=True)
        ```
    """

    _block_type_name = "S3 Stage"
    _block_type_slug = "s3-stage"
    _description = "A bucket in which part files wait for the warehouse to load them."

    bucket_name: str = Field(
        title="Bucket", description="The bucket's name. It must exist.", min_length=1
    )
    prefix: str = Field(
        default="",
        description="The folder in the bucket under which everything is put; empty for the top.",
    )
    credentials: AwsCredentials = Field(
        default_factory=AwsCredentials,
        title="AWS credentials",
        description=(
            "Keys, profile or role, and the region. Left empty: the machine's own role. A server"
            " that only speaks S3 has its endpoint URL in the AWS client parameters."
        ),
    )
    server_side_encryption: Literal["AES256", "aws:kms"] | None = Field(
        default=None,
        description="How S3 encrypts the files. Left empty: as the bucket does by default.",
    )
    kms_key_id: str | None = Field(
        default=None,
        title="KMS key",
        description="The key's id or ARN for aws:kms. Left empty: the account's key for S3.",
    )
    connect_timeout_seconds: float = Field(
        default=10, gt=0, description="How long to wait for a connection to S3."
    )
    read_timeout_seconds: float = Field(
        default=60, gt=0, description="How long to wait for S3's next bytes."
    )
    max_attempts: int = Field(
        default=5, ge=1, description="How often one request is tried before the step fails."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kms_key_id and self.server_side_encryption != "aws:kms":
            raise ValueError("kms_key_id needs server_side_encryption aws:kms")
        if self.prefix.strip("/"):
            checked_key(self.prefix.strip("/"))
        return self

    @with_new_keys
    def put(self, part: PartFile, key: str) -> StagedFile:
        """Store the part under the key, whole or not at all; storing it again changes nothing.

        Parts from 16 MiB on go up in several chunks at once, of which nothing is seen before the
        last has arrived.

        Raises:
            AccessError: No such bucket, no permission, or wrong credentials.
            ConfigurationError: Wrong region, or settings that boto3 refuses.
            FatalError: The part file is gone from this machine.
            DataError: It is not as it was written; extract has to run again.
            ConnectionLostError: The network failed, not all bytes arrived, or what is to give the
                keys gave none, or none that are still good; a retry may help.
            BusyError: S3 throttles; a retry may help.
        """
        full_key = self._full_key(key)
        with self._explained(f"storing {full_key!r}"), open_part(part) as file:
            digests = Digests.of(file)
            if (digests.size_bytes, digests.whole.hex()) != (part.size_bytes, part.sha256):
                raise changed_part(part)
            file.seek(0)
            settings = {**self._encryption(), "Metadata": {"sha256": part.sha256}}
            upload = self._put if part.size_bytes < CHUNK_BYTES else self._put_in_chunks
            upload(file, full_key, digests, settings)
        return StagedFile(key, self._uri(full_key), part.size_bytes, part.rows)

    @with_new_keys
    def write_record(self, text: bytes, key: str) -> StagedFile:
        """Store what Ferry notes for itself, as JSON, in the place of what was there.

        Raises:
            FerryError: As for `put`.
        """
        full_key = self._full_key(key)
        with self._explained(f"storing {full_key!r}"):
            settings = {**self._encryption(), "ContentType": "application/json"}
            self._put(BytesIO(text), full_key, Digests.of(BytesIO(text)), settings)
        return StagedFile(key, self._uri(full_key), len(text), 0)

    @with_new_keys
    def read_record(self, key: str) -> bytes | None:
        """What was stored under the key by `write_record`; None if nothing is there.

        Raises:
            FerryError: As for `put`.
        """
        full_key = self._full_key(key)
        what = f"reading {full_key!r}"
        with self._explained(what):
            client = self._client()
            try:
                answer = client.get_object(Bucket=self.bucket_name, Key=full_key)
            except client.exceptions.NoSuchKey:
                return None
        with explained_body(answer["Body"], self.bucket_name, what) as content:
            return content.read()

    @with_new_keys
    def open(self, file: StagedFile) -> BinaryIO:
        """The file's bytes as a stream; S3's errors while reading it are Ferry's errors, too.

        Raises:
            FatalError: There is no such file.
            FerryError: As for `put`.
        """
        full_key = self._full_key(file.key)
        with self._explained(f"reading {full_key!r}"):
            answer = self._client().get_object(Bucket=self.bucket_name, Key=full_key)
        return explained_body(answer["Body"], self.bucket_name, f"reading {full_key!r}")

    def discard(self, keys: Sequence[str]) -> None:
        """Remove the files of these keys; one that is gone already is no error.

        Raises:
            FerryError: As for `put`; some of the files may be gone by then.
        """
        self._delete([self._full_key(key) for key in keys])

    @with_new_keys
    def now(self) -> datetime:
        """The moment by S3's own clock, to the second.

        Raises:
            ConfigurationError: The server does not tell it.
            FerryError: As for `put`.
        """
        folder = self.prefix.strip("/")
        with self._explained("asking the clock"):
            answer = self._client().list_objects_v2(
                Bucket=self.bucket_name, Prefix=f"{folder}/" if folder else "", MaxKeys=1
            )
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        try:
            return parsedate_to_datetime(date).astimezone(UTC)
        except ValueError as error:
            raise ConfigurationError(
                f"the server of bucket {self.bucket_name!r} does not tell its time",
                expected="the header Date in each answer",
                todo="Old files are not removed: nobody can tell how old they are.",
            ) from error

    @with_new_keys
    def stored_under(self, prefix: str) -> dict[str, StagedFile]:
        """The files in a folder of the stage by their keys, each with its size; their rows are 0.

        Raises:
            FerryError: As for `put`.
        """
        folder = self._full_key(prefix)
        own = len(folder) - len(prefix)
        with self._explained(f"listing {folder!r}"):
            pages = self._client().get_paginator("list_objects_v2")
            found = [
                StagedFile(item["Key"][own:], self._uri(item["Key"]), item["Size"], 0)
                for page in pages.paginate(Bucket=self.bucket_name, Prefix=f"{folder}/")
                for item in page.get("Contents", ())
            ]
        return {file.key: file for file in found}

    def discard_older(self, prefix: str, before: datetime) -> int:
        """Remove files under the prefix stored before that moment; returns how many.

        Args:
            prefix: A folder in the stage: `raw_data` is not also `raw_data_old`. Empty for all of
                the stage, which then needs a `prefix` of its own.
            before: Aware. S3's own clock decides what is older.

        Raises:
            ConfigurationError: It would search the whole bucket.
            FerryError: As for `put`; some of the files may be gone by then.
        """
        before = checked_moment(before)
        folder = "/".join(step for step in (self.prefix.strip("/"), prefix.strip("/")) if step)
        if not folder:
            raise ConfigurationError(
                f"old files are not discarded from the whole bucket {self.bucket_name!r}",
                todo="Give the stage a prefix.",
            )
        old = self._older(folder, before)
        self._delete(old)
        return len(old)

    @with_new_keys
    def _older(self, folder: str, before: datetime) -> list[str]:
        """The whole keys of the files in the folder that were stored before that moment."""
        with self._explained(f"listing {folder!r}"):
            pages = self._client().get_paginator("list_objects_v2")
            return [
                item["Key"]
                for page in pages.paginate(Bucket=self.bucket_name, Prefix=f"{folder}/")
                for item in page.get("Contents", ())
                if item["LastModified"] < before
            ]

    @with_new_keys
    def _delete(self, full_keys: Sequence[str]) -> None:
        for start in range(0, len(full_keys), _DELETE_AT_ONCE):
            keys = full_keys[start : start + _DELETE_AT_ONCE]
            some = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
            with self._explained(f"removing {len(keys)} files"):
                client = self._client()
                try:
                    answer = client.delete_objects(Bucket=self.bucket_name, Delete=some)
                except ClientError as refused:
                    if code_of(refused) not in _NOT_AT_ONCE:
                        raise
                    answer = {}
                    for key in keys:
                        with suppress(client.exceptions.NoSuchKey):
                            client.delete_object(Bucket=self.bucket_name, Key=key)
            for error in answer.get("Errors", ()):
                if error.get("Code") not in ("NoSuchKey", "NoSuchVersion"):
                    where = f"removing {error.get('Key')!r} in bucket {self.bucket_name!r}"
                    raise explain_code(error.get("Code", "unknown"), 0, where, self.bucket_name)

    def _put(
        self, content: BinaryIO, full_key: str, digests: Digests, settings: dict[str, Any]
    ) -> None:
        """Store the content by one request, and see that what S3 has is it."""
        answer = self._client().put_object(
            Bucket=self.bucket_name,
            Key=full_key,
            Body=content.read(),
            ChecksumSHA256=digests.of_one,  # S3 refuses other bytes
            **settings,
        )
        if answer.get("ChecksumSHA256") != digests.of_one:
            self._compare(full_key, digests)

    def _put_in_chunks(
        self, content: BinaryIO, full_key: str, digests: Digests, settings: dict[str, Any]
    ) -> None:
        """Store the content by several requests at once, and see that what S3 has is it."""
        client = self._client()
        if client.meta.config.request_checksum_calculation == "when_supported":
            settings = {**settings, "ChecksumAlgorithm": "SHA256"}
        client.upload_fileobj(
            content,
            self.bucket_name,
            full_key,
            ExtraArgs=settings,
            Config=TransferConfig(
                multipart_threshold=CHUNK_BYTES,
                multipart_chunksize=CHUNK_BYTES,
                max_concurrency=4,
            ),
        )
        answer = client.head_object(Bucket=self.bucket_name, Key=full_key, ChecksumMode="ENABLED")
        if answer.get("ChecksumSHA256", "").partition("-")[0] != digests.of_chunks:
            self._compare(full_key, digests)

    def _compare(self, full_key: str, digests: Digests) -> None:
        """Read back what is stored, and remove it if it is not what was sent.

        S3 itself tells the digest. Another server may not, or in another form; this costs as much
        as the upload.

        Raises:
            ConnectionLostError: It is something else, or was cut while it was read, which says
                nothing of what is stored; a retry may help.
        """
        what = f"reading {full_key!r}"
        try:
            stored = self._client().get_object(Bucket=self.bucket_name, Key=full_key)["Body"]
            with explained_body(stored, self.bucket_name, what) as content:
                found = Digests.of(content)
            if found.whole != digests.whole:
                raise ConnectionLostError(
                    f"{full_key!r} in bucket {self.bucket_name!r} is not what was sent",
                    expected=f"{digests.size_bytes} bytes with SHA-256 {digests.whole.hex()}",
                    found=f"{found.size_bytes} bytes with SHA-256 {found.whole.hex()}",
                )
        except ConnectionLostError as error:
            if isinstance(error.__cause__, FlexibleChecksumError | None):
                with suppress(FerryError):
                    self._delete([full_key])
            raise

    def uri(self, key: str) -> str:
        """`s3://`, the bucket and the whole key.

        Raises:
            RequestError: The key leads out of the stage.
        """
        return self._uri(self._full_key(key))

    def _uri(self, full_key: str) -> str:
        return f"s3://{self.bucket_name}/{full_key}"

    def _full_key(self, key: str) -> str:
        folder = self.prefix.strip("/")
        return f"{folder}/{checked_key(key)}" if folder else checked_key(key)

    def _encryption(self) -> dict[str, str]:
        chosen = {"ServerSideEncryption": self.server_side_encryption}
        return {k: v for k, v in {**chosen, "SSEKMSKeyId": self.kms_key_id}.items() if v}

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """What S3 answers to this, as Ferry's errors."""
        with explained(self.bucket_name, what, renewed=keys_are_renewed(self.credentials)):
            yield

    def _client(self) -> Any:
        """A client with this block's timeouts; what the credentials block sets itself wins."""
        return new_client(
            self.credentials,
            self.connect_timeout_seconds,
            self.read_timeout_seconds,
            self.max_attempts,
            int(time.monotonic() // CLIENT_SECONDS),
        )
