"""Who may read, over which connection, and what nobody gets to see."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from blocks.sources import MySQLSource
from blocks.sources.mysql.connection import _KEEPALIVE
from blocks.sources.mysql.errors import error_of_code, mysql_error
from blocks.sources.mysql.reader_process import MySQLReader
from deployments.local.servers.certificates import Certificates
from ferry.batch import ExtractQuery
from ferry.errors import (
    AccessError,
    ConfigurationError,
    ConnectionLostError,
    FerryError,
    SchemaError,
)
from ferry.schema import TableName
from tests.harness.mysql_shop import SERVERS, only_on, root_on

if TYPE_CHECKING:
    from deployments.local.servers import MariaDB
    from tests.harness.mysql_shop import MySQLShop

SECRET = "p@ss:w/rd#%?&'+é `x"


@pytest.fixture(scope="module", params=SERVERS)
def guarded(request: pytest.FixtureRequest) -> Iterator[MariaDB]:
    """A server with a user whose password has every character that means something somewhere."""
    server: MariaDB = request.getfixturevalue(request.param)
    with root_on(server) as cursor:
        cursor.execute("CREATE USER guarded@'%%' IDENTIFIED BY %s", (SECRET,))
        cursor.execute(f"GRANT SELECT ON `{server.database}`.* TO guarded@'%'")
        cursor.execute(f"CREATE TABLE `{server.database}`.t (id INT)")
        cursor.execute(f"INSERT INTO `{server.database}`.t VALUES (1)")
    yield server
    with root_on(server) as cursor:
        cursor.execute(f"DROP TABLE `{server.database}`.t")
        cursor.execute("DROP USER guarded@'%'")


def source_on(server: MariaDB, **changes: Any) -> MySQLSource:
    fields: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "database": server.database,
        "user": "guarded",
        "password": SECRET,
        "ca_path": str(server.ca_path),
    }
    return MySQLSource(**{**fields, **changes})


def test_a_password_of_any_characters_opens_the_server(guarded: MariaDB) -> None:
    source = source_on(guarded)
    schema = source.describe(TableName("", "t"))

    assert [b.to_pydict() for b in source.read(ExtractQuery(schema))] == [{"id": [1]}]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"password": SECRET + "!"}, AccessError),
        ({"user": "nobody"}, AccessError),
        ({"database": "no_such"}, AccessError),
        ({"database": "mysql"}, AccessError),
        ({"host": "no-such-host.invalid"}, (AccessError, ConnectionLostError)),
        ({"port": 1}, ConnectionLostError),
        ({"ca_path": "/no/such.pem"}, ConfigurationError),
        ({"ca_path": "/etc/hostname"}, ConfigurationError),
        ({"verify_tls": True, "ca_path": None}, AccessError),
    ],
)
def test_what_opens_no_connection_is_told_at_once_and_without_the_password(
    guarded: MariaDB,
    changes: dict[str, Any],
    error: type[FerryError],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = source_on(guarded, **changes)
    schema = source_on(guarded).describe(TableName("", "t"))
    began = time.monotonic()
    told = repr(source) + str(source)

    with caplog.at_level(logging.DEBUG):
        for attempt in (
            lambda: source.describe(TableName("", "t")),
            lambda: list(source.read(ExtractQuery(schema))),
            lambda: source.bounds(TableName("", "t"), "id"),
        ):
            with pytest.raises(error) as caught:
                attempt()
            told += "".join(traceback.format_exception(caught.value))

    assert time.monotonic() - began < 5
    told += caplog.text + "".join(capfd.readouterr())
    assert SECRET not in told
    assert SECRET[:8] not in told


def test_password_database_and_right_are_told_apart(guarded: MariaDB) -> None:
    for changes, told in (
        ({"password": SECRET + "!"}, "wrong user or password"),
        # What the server does not tell apart to a user who may not know of it.
        ({"database": "no_such"}, "no right to the database, or there is none of that name"),
        ({"database": "mysql"}, "the user has no right to the database"),
    ):
        with pytest.raises(AccessError, match=told):
            source_on(guarded, **changes).describe(TableName("", "t"))


def test_the_password_is_in_no_argument_and_no_environment(
    guarded: MariaDB, reading_processes: Callable[[], list[Path]]
) -> None:
    reader = MySQLReader(
        url=source_on(guarded)._server.url(),
        sql="SELECT SLEEP(3) AS c0",
        session=(),
        batch_rows=10,
        read_timeout_seconds=10,
        address="there",
    )
    thread = threading.Thread(target=lambda: list(reader.batches()))
    thread.start()
    time.sleep(1)
    (child,) = reading_processes()
    seen = [(child / what).read_bytes() for what in ("cmdline", "environ")]
    thread.join()

    assert not [text for text in seen if b"p@ss" in text or b"p%40ss" in text]


def test_rows_come_over_tls_also_on_loopback(shop: MySQLShop) -> None:
    schema = "performance_schema" if shop.server.name == "mysql" else "information_schema"
    sql = (
        f"SELECT VARIABLE_VALUE AS c0 FROM {schema}.session_status "
        "WHERE VARIABLE_NAME = 'Ssl_cipher'"
    )
    for source, encrypted in (
        (shop.source, True),
        (shop.make_source(host="localhost"), True),
        (shop.make_source(verify_tls=False), True),
        (shop.make_source(ca_path=None), False),
    ):
        server = source._server
        reader = MySQLReader(server.url(), sql, (), 10, 10, server.address)
        (row,) = [row for batch in reader.batches() for row in batch.to_pylist()]
        with server.cursor() as cursor:
            cursor.execute(sql)
            ((by_pymysql,),) = cursor.fetchall()
        assert bool(row["c0"]) is bool(by_pymysql) is encrypted


def _keepalives_of(process: Path) -> list[int]:
    """In how many hundredths of a second a process's TCP connections ask for the other end.

    https://docs.kernel.org/networking/proc_net_tcp.html
    """
    with contextlib.suppress(OSError):  # a file is closed meanwhile
        files = [str(file.readlink()) for file in (process / "fd").iterdir()]
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        timers = [row[5].split(":") for row in rows if f"socket:[{row[9]}]" in files]
        return [int(hundredths, 16) for kind, hundredths in timers if kind == "02"]
    return []


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells of its timers")
def test_a_silent_reader_asks_every_minute_whether_the_server_is_there(
    shop: MySQLShop, reading_processes: Callable[[], list[Path]]
) -> None:
    server = shop.source._server
    reader = MySQLReader(server.url(), "SELECT SLEEP(3) AS c0", (), 10, 10, server.address)
    thread = threading.Thread(target=lambda: list(reader.batches()))
    thread.start()
    keepalives: list[int] = []
    while thread.is_alive() and not keepalives:
        time.sleep(0.05)
        keepalives = [each for child in reading_processes() for each in _keepalives_of(child)]
    thread.join()

    assert keepalives
    assert all(0 < hundredths <= 6000 for hundredths in keepalives)


def test_a_silent_answer_is_kept_alive_too(shop: MySQLShop) -> None:
    with contextlib.closing(shop.source._server.connect()) as connection:
        sock = connection._sock  # type: ignore[attr-defined]
        asked = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in _KEEPALIVE]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    assert asked == [60, 10, 6]


@pytest.mark.parametrize("authority", ["ours", "the machine's"])
def test_a_certificate_for_another_name_is_refused(
    shop: MySQLShop,
    proxy: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    authority: str,
) -> None:
    other = proxy("127.0.0.2")  # the same server, by an address that is not in its certificate
    source = shop.make_source(host=other.host, port=other.port)
    if authority != "ours":
        monkeypatch.setenv("SSL_CERT_FILE", str(shop.source.ca_path))
        shop.make_source(ca_path=None, verify_tls=True, host="localhost").now()
        source = shop.make_source(host=other.host, port=other.port, ca_path=None, verify_tls=True)

    with pytest.raises(AccessError, match="certificate"):
        source.describe(TableName("", "t"))


@pytest.mark.parametrize(
    ("cause", "kind", "told"),
    [
        (ssl.SSLCertVerificationError, AccessError, "certificate of .* does not verify.*REASON"),
        (ssl.SSLEOFError, ConnectionLostError, "TLS.*REASON"),
        (ssl.SSLError, ConnectionLostError, "TLS.*REASON"),
    ],
)
def test_a_certificate_that_does_not_verify_is_in_vain_to_try_again_and_a_cut_is_not(
    cause: type[ssl.SSLError], kind: type[FerryError], told: str
) -> None:
    error = pymysql.OperationalError(2003, "x")
    error.original_exception = cause(1, "x")  # type: ignore[attr-defined]
    error.original_exception.reason = "REASON"  # type: ignore[attr-defined]
    explained = mysql_error(error, "h:3306/shop")
    assert type(explained) is kind
    assert re.search(told, str(explained))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_a_server_that_has_but_an_older_tls_is_in_vain_to_try_again(tmp_path: Path) -> None:
    certificates = Certificates.make(tmp_path)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(certificates.cert_path, certificates.key_path)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as client:
            client.sendall(_greeting(_CAN | _SSL))
            client.recv(36)  # https://dev.mysql.com/doc/dev/mysql-server/latest/: SSLRequest
            old.wrap_socket(client, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        source = MySQLSource(
            host="127.0.0.1",
            port=listener.getsockname()[1],
            database="d",
            user="u",
            password=SECRET,
            ca_path=str(certificates.ca_path),
        )
        with pytest.raises(AccessError, match=r"no version of TLS.*TLS 1\.2"):
            source.describe(TableName("", "t"))


@pytest.mark.parametrize("gone", ["column", "table"])
def test_a_broken_view_is_no_missing_right(shop: MySQLShop, gone: str) -> None:
    shop.run("CREATE TABLE `under` (id INT PRIMARY KEY, a INT)")
    shop.run("CREATE VIEW `over` AS SELECT id, a FROM `under`")
    if gone == "column":
        shop.run("ALTER TABLE `under` DROP COLUMN a")
    elif gone == "table":
        shop.run("DROP TABLE `under`")
    with pytest.raises(SchemaError, match=r"view .*over.* is broken; found error 1356"):
        shop.source.describe(TableName("", "over"))


def test_a_column_whose_right_was_withdrawn_is_as_if_it_were_not_there(
    shop: MySQLShop, poor: dict[str, str]
) -> None:
    """So that what is said of a column that is gone has to tell of rights."""
    shop.run("CREATE TABLE t (id INT PRIMARY KEY, a INT)")
    source, right = shop.make_source(**poor), f"'{poor['user']}'@'%'"
    with shop.as_root() as cursor:
        cursor.execute(f"REVOKE SELECT ON `{shop.database}`.* FROM {right}")
        cursor.execute(f"GRANT SELECT (id) ON `{shop.database}`.t TO {right}")

    assert [c.name for c in source.describe(TableName("", "t")).columns] == ["id"]


@pytest.fixture
def asking_for() -> Iterator[Callable[[str], int]]:
    """Opens a port at which a server asks whoever comes to log in by a plugin."""
    with contextlib.ExitStack() as stack:

        def listen(plugin: str) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        client, _ = listener.accept()
                        with client:
                            client.sendall(_greeting())
                            client.recv(4096)
                            client.sendall(_packet(2, b"\xfe%s\0" % plugin.encode() + b"x" * 32))
                            client.recv(4096)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)  # ends the waiting accept
            return int(listener.getsockname()[1])

        yield listen


# https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
_CAN = 0x8 | 0x200 | 0x8000 | 0x80000  # with a database, protocol 4.1, its salt, plugins
_SSL = 0x800


def _greeting(can: int = _CAN) -> bytes:
    return _packet(
        0,
        b"\x0a8.4.0\0" + struct.pack("<I8sx", 7, b"saltsalt")
        + struct.pack("<HBHHB10x13s", can & 0xFFFF, 45, 2, can >> 16, 21, b"saltsaltsalt\0")
        + b"mysql_native_password\0",
    )  # fmt: skip


def _packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


@pytest.mark.parametrize(
    ("asked", "named"), [("client_ed25519", "ed25519"), ("parsec", "parsec"), ("my-own", "my-own")]
)
def test_a_login_that_ferry_does_not_know_is_named_with_what_to_do(
    asking_for: Callable[[str], int], monkeypatch: pytest.MonkeyPatch, asked: str, named: str
) -> None:
    monkeypatch.setitem(sys.modules, "nacl", None)  # it would be of no use to the reading process
    source = MySQLSource(
        host="127.0.0.1", port=asking_for(asked), database="d", user="u", password=SECRET
    )

    with pytest.raises(AccessError, match=f"plugin `{named}`") as caught:
        source.describe(TableName("", "t"))

    assert "ALTER USER" in str(caught.value.todo)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@only_on("mysql")
def test_a_login_that_the_reading_process_alone_does_not_know_is_named_too(
    shop: MySQLShop, poor: dict[str, str]
) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY)")
    source = shop.make_source(**poor)
    query = ExtractQuery(source.describe(TableName("", "t")))
    with shop.as_root() as cursor:
        cursor.execute(f"ALTER USER '{poor['user']}'@'%' IDENTIFIED WITH sha256_password BY 'few'")

    with pytest.raises(AccessError, match="plugin `sha256_password`") as caught:
        list(source.read(query))

    assert "ALTER USER" in str(caught.value.todo)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (3955, "ACCOUNT UNLOCK.*begun again"),
        (3118, "ACCOUNT UNLOCK"),
        (4151, "ACCOUNT UNLOCK"),
        (1129, "blocked this machine.*host_cache"),
        (1045, "`password` in the source block.*begun again"),
    ],
)
def test_a_login_that_is_refused_says_how_the_next_one_is_not(code: int, told: str) -> None:
    error = error_of_code(code, "db.example:3306/shop")
    assert type(error) is AccessError
    assert re.search(told, str(error)), str(error)
