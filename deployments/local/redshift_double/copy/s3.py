"""The few S3 reads that COPY needs, path style, signed with AWS signature version 4."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import http.client
import io
import urllib.parse
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, cast

import zstandard

from deployments.local.redshift_double.errors import Refusal

_SMALL_BYTES = 1 << 18
_EMPTY_HASH = hashlib.sha256(b"").hexdigest()


def split_uri(uri: str) -> tuple[str, str]:
    """Returns bucket and key of an ``s3://`` address.

    Raises:
        Refusal: It is another kind of address.
    """
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise Refusal(f"COPY source {uri} is not an s3:// address", "42601")
    return parts.netloc, uri.split("/", 3)[3] if uri.count("/") > 2 else ""


class _Decompressed(io.RawIOBase):
    """What a zstd stream holds; one that is broken is refused, as any file that cannot be loaded.

    In which words Redshift does that is written nowhere.
    """

    def __init__(self, raw: IO[bytes], uri: str) -> None:
        self._stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        self._uri = uri

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there is something.

        Raises:
            Refusal: The stream is broken.
        """
        try:
            return self._stream.readinto(buffer)
        except zstandard.ZstdError as error:
            raise Refusal(f"The file {self._uri} could not be decompressed", "XX000") from error


@dataclass(frozen=True)
class S3Reader:
    """Reads objects of one S3 endpoint.

    Attributes:
        endpoint: ``http://host:port``.
        access_key: The key id requests are signed with.
        secret_key: The secret; it never leaves this process.
        region: Part of the signature.
    """

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def open(self, uri: str, compression: str = "", content: bytes | None = None) -> IO[bytes]:
        """Returns an object's bytes as a stream, decompressed.

        Args:
            uri: ``s3://bucket/key``.
            compression: ``gzip``, ``zstd`` or nothing.
            content: What it holds, if that is known already.

        Raises:
            FileNotFoundError: There is no such key.
            Refusal: S3 said no otherwise; worded as Redshift words it.
        """
        bucket, key = split_uri(uri)
        raw: IO[bytes] = io.BytesIO(content or b"")
        if content is None:
            raw = cast(IO[bytes], self._get(bucket, key, {}))
        if compression == "gzip":
            return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
        if compression == "zstd":
            return cast(IO[bytes], _Decompressed(raw, uri))
        return raw

    def look(self, uri: str) -> tuple[int, bytes | None]:
        """Returns the object's size in bytes, and all of it if it is small.

        Raises:
            FileNotFoundError: There is no such key.
            Refusal: S3 said no otherwise.
        """
        bucket, key = split_uri(uri)
        with self._get(bucket, key, {}) as response:
            size = int(response.headers["Content-Length"])
            return size, response.read() if size <= _SMALL_BYTES else None

    def read(self, uri: str) -> bytes:
        """Returns a whole object."""
        with self.open(uri) as stream:
            return stream.read()

    def list(self, uri: str) -> list[str]:
        """Returns the addresses of all keys that begin with a prefix, siblings included."""
        bucket, prefix = split_uri(uri)
        found: list[str] = []
        query = {"list-type": "2", "prefix": prefix}
        while True:
            with self._get(bucket, "", query) as response:
                tree = ET.parse(response).getroot()
            space = tree.tag.split("}")[0] + "}" if tree.tag.startswith("{") else ""
            found += [f"s3://{bucket}/{node.text}" for node in tree.iter(f"{space}Key")]
            token = tree.findtext(f"{space}NextContinuationToken")
            if not token:
                return found
            query["continuation-token"] = token

    def _get(self, bucket: str, key: str, query: dict[str, str]) -> http.client.HTTPResponse:
        host = urllib.parse.urlsplit(self.endpoint).netloc
        path = urllib.parse.quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/-_.~")
        arguments = urllib.parse.urlencode(sorted(query.items()), quote_via=urllib.parse.quote)
        connection = http.client.HTTPConnection(host, timeout=60)
        headers = self._signed(host, path, arguments)
        try:
            connection.request("GET", path + (f"?{arguments}" if arguments else ""), None, headers)
            response = connection.getresponse()
        except OSError as error:
            raise Refusal(
                f"S3ServiceException:cannot reach the S3 endpoint,Status 0 ({error})", "XX000"
            ) from error
        if response.status == 200:
            return response
        raise _refused(response.status, response.read(), key)

    def _signed(self, host: str, path: str, arguments: str) -> dict[str, str]:
        now = datetime.now(UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        headers = {"host": host, "x-amz-content-sha256": _EMPTY_HASH, "x-amz-date": stamp}
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = "\n".join(["GET", path, arguments, lines, names, _EMPTY_HASH])
        scope = f"{day}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest])
        key = ("AWS4" + self.secret_key).encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return headers


def _refused(status: int, body: bytes, key: str) -> Exception:
    try:
        tree = ET.parse(io.BytesIO(body)).getroot()
        code, message = tree.findtext("Code") or "", tree.findtext("Message") or ""
    except ET.ParseError:
        code, message = "", body[:200].decode(errors="replace")
    if code == "NoSuchKey":
        return FileNotFoundError(key)
    return Refusal(
        f"S3ServiceException:{message},Status {status},Error {code},Rid 0,ExtRid 0,CanRetry 1",
        "XX000",
    )
