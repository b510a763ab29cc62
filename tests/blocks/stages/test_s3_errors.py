"""What S3 refuses, and what fails on the way there, as Ferry's errors."""

from __future__ import annotations

import re
import ssl
from http.server import BaseHTTPRequestHandler

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    RefreshWithMFAUnsupportedError,
    SSLError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from urllib3 import exceptions as urllib3
from urllib3.util.ssl_match_hostname import CertificateError

from blocks.stages.s3_errors import explain
from ferry.batch import PartFile
from ferry.errors import (
    AccessError,
    BusyError,
    ConfigurationError,
    ConnectionLostError,
    FatalError,
    FerryError,
)
from tests.blocks.stages.s3_server import BY_SSO, SECRET, WITH_TOKEN, refusal, refuse, server, stage


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchBucket", AccessError),
        (403, "AccessDenied", AccessError),
        (403, "InvalidAccessKeyId", AccessError),
        (403, "SignatureDoesNotMatch", AccessError),
        (400, "ExpiredToken", AccessError),
        (400, "KMS.DisabledException", AccessError),
        (403, "SomethingNew", AccessError),
        (503, "SlowDown", BusyError),
        (500, "InternalError", BusyError),
        (503, "RequestLimitExceeded", BusyError),
        (429, "SomethingNew", BusyError),
        (408, "SomethingNew", BusyError),
        (400, "RequestTimeout", ConnectionLostError),
        (400, "BadDigest", ConnectionLostError),
        (400, "XAmzContentChecksumMismatch", ConnectionLostError),
        (404, "NoSuchUpload", ConnectionLostError),
        (501, "NotImplemented", ConfigurationError),
        (400, "InvalidPart", ConnectionLostError),
        (400, "AuthorizationHeaderMalformed", ConfigurationError),
        (400, "SomethingNew", ConfigurationError),
    ],
)
def test_every_refusal_has_its_place_in_the_tree_and_a_message_without_secrets(
    part: PartFile, status: int, code: str, kind: type[FerryError]
) -> None:
    with (
        server(refuse(status, code)) as (endpoint, _),
        pytest.raises(FerryError) as caught,
    ):
        stage(endpoint, "my-bucket").put(part, "t/part")
    assert type(caught.value) is kind
    assert "'my-bucket'" in str(caught.value)
    assert code in str(caught.value) or code == "NoSuchBucket"
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value.__cause__, ClientError)


def test_a_page_of_a_proxy_s_is_judged_by_its_status(part: PartFile) -> None:
    def late(request: BaseHTTPRequestHandler) -> None:
        request.send_response(408)
        request.end_headers()
        request.wfile.write(f"<html><p>{SECRET}</p></html>".encode())

    with (
        server(late) as (endpoint, _),
        pytest.raises(BusyError, match=r"S3 is busy \(408\)") as caught,
    ):
        stage(endpoint).put(part, "t/part")
    assert SECRET not in str(caught.value)


USER = f"User: arn:aws:sts::1:assumed-role/{SECRET} is not authorized to perform: "
BUCKET = f'on resource: "arn:aws:s3:::{SECRET}" '


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Access Denied", r"\(AccessDenied\)\. Allow s3:PutObject"),
        (
            f"{USER}s3:PutObject {BUCKET}with an explicit deny in a resource-based policy",
            r"found s3:PutObject, an explicit deny in a resource-based policy\. .*"
            "server_side_encryption, kms_key_id.* endpoint",
        ),
        (
            f"{USER}kms:GenerateDataKey {BUCKET}because no identity-based policy allows the"
            " kms:GenerateDataKey action",
            r"found kms:GenerateDataKey, no identity-based policy allows it\. Allow",
        ),
        (
            f"{USER}s3:GetObject {BUCKET}because no VPC endpoint policy allows the action",
            "found s3:GetObject, no VPC endpoint policy allows it",
        ),
    ],
)
def test_a_denial_says_which_action_and_which_policy_and_no_names(said: str, told: str) -> None:
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": said}}, "PutObject")
    explained = explain(error, "b", "storing 'k'")
    assert type(explained) is AccessError
    assert re.search(told, str(explained)), str(explained)
    assert SECRET not in str(explained)


def of_tls(error: Exception) -> SSLError:
    return SSLError(endpoint_url="https://x", error=urllib3.SSLError(error))


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (NoCredentialsError(), AccessError, "Fill in the credentials"),
        (of_tls(ssl.SSLCertVerificationError()), AccessError, "the CA's file"),
        (of_tls(CertificateError()), AccessError, "the CA's file"),
        (of_tls(ssl.SSLEOFError()), ConnectionLostError, "network"),
        (of_tls(ssl.SSLError(1, "TLSV1_ALERT_INTERNAL_ERROR")), ConnectionLostError, "network"),
        (EndpointConnectionError(endpoint_url="https://x"), ConnectionLostError, "network"),
        (ConnectTimeoutError(endpoint_url="https://x"), ConnectionLostError, "network"),
        (ReadTimeoutError(endpoint_url="https://x"), ConnectionLostError, "network"),
        (ConnectionResetError(), ConnectionLostError, "network"),
        (OSError(5, "x"), FatalError, "disk"),
        (refusal("PermanentRedirect", "PutObject"), ConfigurationError, "bucket's region"),
        (refusal("AccessDenied", "AssumeRole"), AccessError, "role .* assumed .*sts:AssumeRole"),
        (refusal("InvalidIdentityToken", WITH_TOKEN), AccessError, "assumed .*WithWebIdentity"),
        (refusal("InvalidClientTokenId", "AssumeRole"), AccessError, "assumed .*access key id"),
        (refusal("ExpiredTokenException", "AssumeRole"), AccessError, "assumed .*Renew"),
        (refusal("Throttling", "AssumeRole"), BusyError, "role's keys"),
        (refusal("", "AssumeRole", 408), BusyError, r"role's keys \(408\)"),
        (refusal("IDPCommunicationError", WITH_TOKEN), ConnectionLostError, "token"),
        (refusal("ForbiddenException", BY_SSO), AccessError, "had by SSO.*permission set"),
        (refusal("TooManyRequestsException", BY_SSO), BusyError, "role's keys"),
        (
            CredentialRetrievalError(provider="custom-process", error_msg=SECRET),
            ConnectionLostError,
            "gave no credentials.*; found custom-process.*by hand",
        ),
        (FileNotFoundError(2, "x", "/run/token"), FatalError, "found /run/token.*token_file"),
        (EOFError(), AccessError, "mfa_serial.*cannot be asked"),
        (RefreshWithMFAUnsupportedError(), AccessError, "mfa_serial.*cannot be asked"),
        (UnauthorizedSSOTokenError(), AccessError, "aws sso login, or use a role"),
        (SSOTokenLoadError(error_msg=SECRET), AccessError, "aws sso login"),
        (TokenRetrievalError(provider="sso", error_msg=SECRET), AccessError, "aws sso login"),
    ],
)
def test_every_failure_of_the_client_has_its_place_in_the_tree(
    error: Exception, kind: type[FerryError], told: str
) -> None:
    explained = explain(error, "b", "storing 'k'")
    assert type(explained) is kind
    assert re.search(told, str(explained))
    assert "s3:PutObject" not in str(explained)
    assert SECRET not in str(explained)
