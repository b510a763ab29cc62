"""What S3's errors mean for Ferry: in one place, by code, without the text that S3 sends back.

Of a denial's text an action and a kind of policy are shown, which are words of AWS's own.
"""

from __future__ import annotations

import io
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from botocore import exceptions as aws  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_match_hostname import CertificateError

from ferry.errors import (
    AccessError,
    BusyError,
    ConfigurationError,
    ConnectionLostError,
    FatalError,
    FerryError,
    may_pass,
)

# Source: Amazon S3 API Reference, "List of error codes"; HEAD answers carry the status alone.
_TODO_ACCESS = {
    "NoSuchBucket": "Check bucket_name, and the region and endpoint of the credentials.",
    "AccessDenied": (
        "Allow s3:PutObject, s3:GetObject, s3:DeleteObject and s3:AbortMultipartUpload on the"
        " prefix and s3:ListBucket on the bucket (for aws:kms also kms:GenerateDataKey and"
        " kms:Decrypt)."
    ),
    "InvalidAccessKeyId": (
        "Check the access key id in the credentials block or, where that has none, the worker's"
        " AWS_ACCESS_KEY_ID."
    ),
    "SignatureDoesNotMatch": "Check the secret access key in the credentials block.",
    "ExpiredToken": "Renew the temporary credentials, or use a role.",
    "InvalidToken": "Check the session token in the credentials block.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "AccountProblem": "Ask who runs the AWS account.",
    "AllAccessDisabled": "Ask who runs the AWS account.",
    "InvalidObjectState": "The file was moved to an archive; check the bucket's lifecycle rules.",
}
_TODO_DENIED = (
    "A Deny holds whatever else allows it: see what that policy asks for. Often it is an encryption"
    " (server_side_encryption, kms_key_id of the block), or a way that the request has to come by,"
    " such as an endpoint of the VPC."
)
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_ACTION = re.compile(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)")
_KIND = (
    r"(?:(?:identity-based|resource-based|session|VPC endpoint|service control|resource control)"
    r" policy|permissions boundary)"
)
_POLICY = re.compile(rf"with (an explicit deny in an? {_KIND})|because (no {_KIND} allows)")
_SAME_AS = {
    "403": "AccessDenied",
    "Forbidden": "AccessDenied",
    "401": "AccessDenied",
    "Unauthorized": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "RequestExpired": "ExpiredToken",
    "TokenRefreshRequired": "ExpiredToken",
    "InvalidClientTokenId": "InvalidAccessKeyId",  # as STS calls it
}
_EXPIRED, _UNKNOWN = "ExpiredToken", "InvalidAccessKeyId"
_GONE = {"404", "NotFound", "NoSuchKey"}
_BUSY = {
    "SlowDown",
    "503",
    "500",
    "ServiceUnavailable",
    "InternalError",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "OperationAborted",
    "ConditionalRequestConflict",
}
_CUT = {
    "RequestTimeout",
    "IncompleteBody",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",  # as MinIO calls it
    "NoSuchUpload",  # completed, and the answer was lost; or aborted by a rule of the bucket
    "InvalidPart",
}
_SETTINGS: dict[str, tuple[str, str]] = dict.fromkeys(
    ("PermanentRedirect", "AuthorizationHeaderMalformed", "301", "307", "TemporaryRedirect"),
    ("the bucket is in another region", "Set the bucket's region in the credentials block."),
)
_SETTINGS |= dict.fromkeys(
    ("NotImplemented", "501"),
    (
        "the server does not have what was asked for",
        "Leave out server_side_encryption of the block, and look at the config in the AWS client"
        " parameters of the credentials, such as request_checksum_calculation.",
    ),
)

_BY_SSO = "GetRoleCredentials"
_FOR_KEYS = ("AssumeRole", _BY_SSO)
"""How the operations begin that give a role's keys: also `AssumeRoleWithWebIdentity`."""

_NO_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.SSOError,
    aws.TokenRetrievalError,
    EOFError,
    aws.RefreshWithMFAUnsupportedError,
)
_ASKS_SOMEBODY = (EOFError, aws.RefreshWithMFAUnsupportedError)
_LOGGED_OUT = (aws.SSOError, aws.TokenRetrievalError)
_OWN_ROLE = ("iam-role", "container-role")
"""How botocore calls what asks the metadata service of a machine or a container."""
_NO_CONNECTION = (
    aws.ConnectionError,  # no such host, nobody listening, proxies
    aws.HTTPClientError,  # timeouts, closed connections, also within TLS
    HTTPError,  # of a body, which boto hands on as it is where TLS fails
    aws.ResponseStreamingError,
    aws.IncompleteReadError,
    aws.FlexibleChecksumError,  # of what was read back
    ConnectionError,
    TimeoutError,
)


@contextmanager
def explained(bucket: str, what: str, *, renewed: bool = False) -> Iterator[None]:
    """Turns what boto raises into Ferry's errors, with the original chained.

    Args:
        bucket: For the message.
        what: What was being done, as in "storing stage/part-00000.csv.zst".
        renewed: Whether the keys are of a file, a program or a role, so that there may be others
            when these have expired, and some where there were none.
    """
    try:
        yield
    except (aws.BotoCoreError, aws.ClientError, HTTPError, OSError, EOFError) as error:
        raise explain(error, bucket, what, renewed=renewed) from error


def explained_body(body: Any, bucket: str, what: str) -> BinaryIO:
    """The body of boto's answer as a stream that raises Ferry's errors."""
    return io.BufferedReader(_Body(body, bucket, what), 1 << 20)


class _Body(io.RawIOBase):
    def __init__(self, body: Any, bucket: str, what: str) -> None:
        self._body = body
        self._bucket = bucket
        self._what = what

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with explained(self._bucket, self._what):
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


def explain(error: Exception, bucket: str, what: str, *, renewed: bool = False) -> FerryError:
    """What happened, told without secrets."""
    where = f"{what} in bucket {bucket!r}"
    if isinstance(error, aws.ClientError):
        return _refused(error, where, bucket, renewed=renewed)
    if isinstance(error, _NO_CREDENTIALS):
        return _no_credentials(error, where, renewed=renewed)
    if isinstance(error, aws.SSLError) and _does_not_verify(error):
        return AccessError(
            f"{where}: the server's certificate does not verify",
            todo="Check the endpoint, or name the CA's file in the AWS client parameters.",
        )
    if isinstance(error, _NO_CONNECTION):
        return ConnectionLostError(
            f"{where}: the connection failed ({type(error).__name__})",
            todo="If it goes on, check the network and the endpoint of the credentials.",
        )
    if isinstance(error, OSError):
        return FatalError(
            f"{where}: a local file cannot be read ({type(error).__name__})",
            found=error.filename,
            todo="Check this machine's disk. If it is the token by which a role is assumed:"
            " web_identity_token_file of the profile, or AWS_WEB_IDENTITY_TOKEN_FILE.",
        )
    return ConfigurationError(
        f"{where}: AWS's client refuses the settings ({type(error).__name__})",
        todo="Check bucket_name, and the region, profile and endpoint of the credentials.",
    )


def _refused(error: aws.ClientError, where: str, bucket: str, *, renewed: bool) -> FerryError:
    code, status = code_of(error), _status(error)
    by_sso = error.operation_name == _BY_SSO
    if renewed and _kind(error) == _EXPIRED and not by_sso:
        return ConnectionLostError(
            f"{where}: the keys that this machine has for AWS have expired ({code})",
            todo="If it stays so: look at what renews them; then retry the run, which looks them up"
            " anew.",
        )
    if renewed and _kind(error) == _UNKNOWN:
        return AccessError(
            f"{where}: the server does not know the keys that this machine has for AWS ({code})",
            todo="Correct them where they are written: the profile, or what gives it its keys. A"
            " server that only speaks S3 has keys of its own: write them into the credentials"
            " block, beside its endpoint.",
        )
    if error.operation_name.startswith(_FOR_KEYS):
        return _no_role(code, status, where, by_sso=by_sso)
    return explain_code(code, status, where, bucket, _text(error))


def _does_not_verify(error: aws.SSLError) -> bool:
    """Whether it is the certificate: a connection that is cut within TLS has the same class."""
    held = getattr(error.kwargs.get("error"), "args", ())
    return any(isinstance(each, ssl.SSLCertVerificationError | CertificateError) for each in held)


def _no_credentials(error: Exception, where: str, *, renewed: bool) -> FerryError:
    if isinstance(error, _ASKS_SOMEBODY):
        return AccessError(
            f"{where}: the profile wants a code (mfa_serial), for which a worker cannot be asked",
            todo="Use a profile or a role that needs none.",
        )
    if renewed and isinstance(error, aws.NoCredentialsError):
        return ConnectionLostError(
            f"{where}: this machine gave no credentials for AWS",
            todo="Either its role's metadata service did not answer, which a retry helps, or it"
            " has no role: give it one, or fill in the credentials block or the profile.",
        )
    if isinstance(error, _LOGGED_OUT):
        return AccessError(
            f"{where}: nobody is logged in to AWS, or no longer ({type(error).__name__})",
            todo="Log in again: aws sso login, or use a role.",
        )
    if isinstance(error, aws.CredentialRetrievalError):
        provider = error.kwargs.get("provider")
        giver = "this machine's own role" if provider in _OWN_ROLE else "what is to give them"
        return ConnectionLostError(
            f"{where}: {giver} gave no credentials for AWS",
            found=provider,
            todo="If it stays so: try it by hand, on the machine and as the user that runs Ferry,"
            " the metadata service, the profile's credential_process, or whatever else it names;"
            " then retry the run.",
        )
    return AccessError(
        f"{where}: there are no credentials for AWS, or only a part of them",
        todo="Fill in the credentials block, or give the machine a role.",
    )


def _no_role(code: str, status: int, where: str, *, by_sso: bool) -> FerryError:
    """Why AWS gives no keys of the role: S3 was not asked yet.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
    https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html
    """
    if code == "IDPCommunicationError":
        return ConnectionLostError(f"{where}: AWS cannot reach who signed the token ({code})")
    if code in _BUSY or may_pass(status):
        return BusyError(f"{where}: AWS is too busy to give the role's keys ({code})")
    same = _SAME_AS.get(code, code)
    if by_sso:
        return AccessError(
            f"{where}: the role of the stage's profile cannot be had by SSO ({code})",
            todo="Check sso_account_id and sso_role_name of the profile, and have the permission"
            " set assigned to who logs in; then log in again: aws sso login.",
        )
    return AccessError(
        f"{where}: the role of the stage's credentials cannot be assumed ({code})",
        todo=_TODO_ACCESS[same]
        if same in _TODO_ACCESS and same != "AccessDenied"
        else "Check the role's ARN in the credentials block, and have its trust policy allow who"
        " asks sts:AssumeRole (with a token: sts:AssumeRoleWithWebIdentity).",
    )


def explain_code(code: str, status: int, where: str, bucket: str, said: str = "") -> FerryError:
    """What an S3 error code means; unknown ones are judged by the HTTP status.

    Args:
        code: The code.
        status: The HTTP status; 0 if there is none, as of one of several files.
        where: What was being done, and in which bucket.
        bucket: The bucket.
        said: The server's text, of which a denial's action and policy are shown.
    """
    code = _SAME_AS.get(code, code)
    if code in _CUT:
        return ConnectionLostError(f"{where}: not all bytes arrived ({code})")
    if code in _BUSY or (may_pass(status) and status != 501):
        return BusyError(f"{where}: S3 is busy ({code})")
    if code in _GONE:
        return FatalError(
            f"{where}: there is no such file", todo="Start the run again: it is read anew."
        )
    if code in _TODO_ACCESS or status in (401, 403) or code.startswith("KMS."):
        problem = (
            f"there is no bucket {bucket!r}" if code == "NoSuchBucket" else f"refused ({code})"
        )
        denied, found = _denied(said)
        return AccessError(
            f"{where}: {problem}",
            found=found,
            todo=_TODO_DENIED
            if denied
            else _TODO_ACCESS.get(code, "Check the credentials and the bucket's policy."),
        )
    problem, todo = _SETTINGS.get(code, ("S3 refuses the request", None))
    return ConfigurationError(f"{where}: {problem} ({code})", todo=todo)


def _denied(said: str) -> tuple[bool, str | None]:
    """Whether a policy denies it outright; what was refused, and by which kind of policy."""
    found, outright = [], False
    if action := _ACTION.search(said):
        found.append(action[1])
    if policy := _POLICY.search(said):
        outright = policy[1] is not None
        found.append(policy[1] if outright else f"{policy[2]} it")
    return outright, ", ".join(found) or None


def code_of(error: aws.ClientError) -> str:
    """The code of a refusal; where the answer has none, its HTTP status."""
    return str(error.response.get("Error", {}).get("Code") or _status(error) or "unknown")


def keys_are_refused(error: BaseException | None) -> bool:
    """Whether it is a refusal of the keys as such: they have expired, or nobody knows them."""
    return isinstance(error, aws.ClientError) and _kind(error) in (_EXPIRED, _UNKNOWN)


def _kind(error: aws.ClientError) -> str:
    code = code_of(error)
    return _SAME_AS.get(code, code)


def _text(error: aws.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))


def _status(error: aws.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
