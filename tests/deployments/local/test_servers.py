from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import psycopg2
import pymysql
import pytest

from deployments.local.servers import (
    S3,
    Certificates,
    MariaDB,
    MySQL,
    Postgres,
    PrefectServer,
    ProcessWorker,
    RcloneS3,
    ServerProcess,
    StartError,
    free_port,
)
from tests.harness.mysql_shop import opened_shop

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def gone(pid: int, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


class TestServerProcess:
    def test_a_start_stops_what_a_killed_run_left_in_the_folder(self, tmp_path: Path) -> None:
        first = ServerProcess.launch("sleeper", SLEEP, tmp_path)
        second = ServerProcess.launch("sleeper", SLEEP, tmp_path)
        try:
            assert not first.alive()
            assert second.alive()
        finally:
            second.stop()
            first.stop()

    def test_a_pid_that_was_given_to_another_process_is_left_alone(self, tmp_path: Path) -> None:
        bystander = subprocess.Popen(SLEEP)
        try:
            record = {
                "name": "sleeper",
                "pid": bystander.pid,
                "started": "1",
                "folder": str(tmp_path),
                "stop_signal": int(signal.SIGTERM),
            }
            (tmp_path / "sleeper.pid.json").write_text(json.dumps(record))
            ServerProcess.launch("sleeper", SLEEP, tmp_path).stop()
            assert bystander.poll() is None
        finally:
            bystander.kill()
            bystander.wait()

    def test_where_ps_tells_when_it_started_another_time_zone_and_language_know_it_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ps = tmp_path / "ps"
        ps.write_text(
            f"#!{sys.executable}\nimport os, time\n"
            "print('Ss  ', time.strftime('%c', time.localtime(1e9)), os.environ['LC_ALL'])"
        )
        ps.chmod(0o700)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        monkeypatch.setattr(sys, "platform", "darwin")
        for name, value in {"TZ": "Asia/Seoul", "LC_ALL": "ko_KR.UTF-8"}.items():
            monkeypatch.setenv(name, value)
        process = ServerProcess.launch("sleeper", SLEEP, tmp_path)
        for name, value in {"TZ": "America/New_York", "LC_ALL": "en_US.UTF-8"}.items():
            monkeypatch.setenv(name, value)
        known = ServerProcess.from_record(process.record()).alive()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(5)
        assert known

    @pytest.mark.skipif(sys.platform != "linux", reason="a parent-death signal is Linux's")
    def test_it_ends_with_a_launcher_that_was_killed(self, tmp_path: Path) -> None:
        code = (
            "import os, sys; from pathlib import Path;"
            "from deployments.local.servers import ServerProcess;"
            "p = ServerProcess.launch('s', [sys.executable, '-c', 'import time; time.sleep(600)'],"
            f"Path({str(tmp_path)!r})); print(p.pid, flush=True); os.kill(os.getpid(), 9)"
        )
        launcher = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert launcher.returncode == -signal.SIGKILL
        assert gone(int(launcher.stdout))

    @pytest.mark.skipif(sys.platform != "linux", reason="a parent-death signal is Linux's")
    def test_it_ends_with_a_launcher_that_was_killed_before_the_signal_was_asked_for(
        self, tmp_path: Path
    ) -> None:
        slow = tmp_path / "setpriv"
        slow.write_text('#!/bin/sh\nsleep 1\nexec /usr/bin/setpriv "$@"\n')
        slow.chmod(0o700)
        code = (
            "import os, sys; from pathlib import Path;"
            "from deployments.local.servers import ServerProcess;"
            "p = ServerProcess.launch('s', [sys.executable, '-c', 'import time; time.sleep(600)'],"
            f"Path({str(tmp_path)!r})); print(p.pid, flush=True); os.kill(os.getpid(), 9)"
        )
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        launcher = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": path},
        )
        assert launcher.returncode == -signal.SIGKILL
        assert gone(int(launcher.stdout))

    def test_it_outlives_its_launcher_when_told_to(self, tmp_path: Path) -> None:
        code = (
            "import sys, json; from pathlib import Path;"
            "from deployments.local.servers import ServerProcess;"
            "p = ServerProcess.launch('s', [sys.executable, '-c', 'import time; time.sleep(600)'],"
            f"Path({str(tmp_path)!r}), outlive=True); print(json.dumps(p.record()))"
        )
        launcher = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        process = ServerProcess.from_record(json.loads(launcher.stdout))
        assert process.alive()
        process.stop()
        assert gone(process.pid)

    def test_an_early_end_is_told_with_the_tail_of_the_log(self, tmp_path: Path) -> None:
        program = [sys.executable, "-c", "raise SystemExit('no room on the shelf')"]
        process = ServerProcess.launch("shelf", program, tmp_path)
        with pytest.raises(StartError, match=r"(?s)shelf ended while starting.*no room"):
            process.wait_until(lambda: False, 10)

    def test_a_server_that_is_never_ready_is_stopped(self, tmp_path: Path) -> None:
        process = ServerProcess.launch("sleeper", SLEEP, tmp_path)
        with pytest.raises(StartError, match=r"not ready after 0.2 s"):
            process.wait_until(lambda: False, 0.2)
        assert not process.alive()


def test_the_preferred_port_is_taken_unless_somebody_has_it() -> None:
    wanted = free_port()
    assert free_port(wanted) == wanted
    with socket.socket() as other:
        other.bind(("127.0.0.1", wanted))
        other.listen()
        assert free_port(wanted) != wanted


def test_certificates_are_made_once_and_their_key_is_private(tmp_path: Path) -> None:
    made = Certificates.make(tmp_path)
    before = made.ca_path.read_bytes()
    assert Certificates.make(tmp_path) == made
    assert made.ca_path.read_bytes() == before
    assert made.key_path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", [MariaDB, MySQL])
class TestMariaDBAndMySQL:
    def test_data_and_new_passwords_survive_a_restart_on_the_folder(
        self, kind: type[MariaDB], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An unfinished data folder hinders no start, nor does it harm others' temporary tables."""
        (tmp_path / "m" / "data.unfinished" / "mysql").mkdir(parents=True)
        (shared := tmp_path / "shared").mkdir()
        of_another = {shared / f"#sql-temptable-1-1-1.{end}" for end in ("MAI", "MAD")}
        for file in of_another:
            file.touch()
        monkeypatch.setenv("TMPDIR", str(shared))
        with (
            kind.start(tmp_path / "m", password="one") as server,
            server.connect() as connection,
        ):
            connection.cursor().execute("CREATE TABLE kept (a INT)")
        with kind.start(tmp_path / "m", password="it's \\ two") as server:
            with server.connect() as connection, connection.cursor() as cursor:
                assert cursor.execute("SELECT * FROM kept") == 0
            assert "it's" not in repr(server)
        server.stop(discard=True)
        assert not (tmp_path / "m").exists()
        assert of_another <= set(shared.iterdir())

    @pytest.fixture
    def server(self, kind: type[MariaDB], request: pytest.FixtureRequest) -> MariaDB:
        server: MariaDB = request.getfixturevalue(kind.name)
        return server

    def test_it_is_what_it_is_called(self, server: MariaDB) -> None:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            ((version,),) = cursor.fetchall()
        assert ("MariaDB" in version) is (server.name == "mariadb")

    def test_another_authority_is_refused(self, server: MariaDB, tmp_path: Path) -> None:
        other = Certificates.make(tmp_path)
        with pytest.raises(pymysql.err.OperationalError, match="certificate verify failed"):
            pymysql.connect(
                host=server.host,
                port=server.port,
                user=server.user,
                password=server.password,
                ssl_ca=str(other.ca_path),
                ssl_verify_cert=True,
                ssl_verify_identity=True,
            )

    def test_the_user_is_no_administrator(self, server: MariaDB) -> None:
        with server.connect() as connection, connection.cursor() as cursor:
            for forbidden in ("SELECT * FROM mysql.tables_priv", "CREATE DATABASE elsewhere"):
                with pytest.raises(pymysql.err.OperationalError, match="denied"):
                    cursor.execute(forbidden)

    def test_a_session_may_write_zero_dates(self, server: MariaDB) -> None:
        with opened_shop(server) as shop:
            shop.run("SET sql_mode = ''")
            shop.run("CREATE TABLE zero (at DATETIME)")
            shop.run("INSERT INTO zero VALUES ('0000-00-00 00:00:00')")
            assert len(shop.run("SELECT * FROM zero WHERE at = '0000-00-00'")) == 1


class TestPostgres:
    def test_data_survive_a_restart_and_the_password_is_asked(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        with Postgres.start(tmp_path / "p", password="one") as server:
            connection = server.connect()
            with connection, connection.cursor() as cursor:
                cursor.execute("CREATE TABLE kept (a INT)")
            connection.close()
        with Postgres.start(tmp_path / "p", password="it's \" two") as server:
            connection = server.connect()
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM kept")
                assert cursor.fetchone() == (0,)
            connection.close()
            with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                psycopg2.connect(
                    host=server.host,
                    port=server.port,
                    user=server.user,
                    password="one",
                    dbname=server.database,
                )
        server.stop(discard=True)
        assert not (tmp_path / "p").exists()

    def test_another_authority_is_refused(self, postgres: Postgres, tmp_path: Path) -> None:
        other = Certificates.make(tmp_path)
        with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
            psycopg2.connect(
                host=postgres.host,
                port=postgres.port,
                user=postgres.user,
                password=postgres.password,
                dbname=postgres.database,
                sslmode="verify-full",
                sslrootcert=str(other.ca_path),
            )

    def test_text_sorts_by_bytes_as_in_redshift(self, postgres: Postgres) -> None:
        connection = postgres.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT x FROM (VALUES ('a'), ('B'), ('é')) t(x) ORDER BY x")
            assert [row[0] for row in cursor.fetchall()] == ["B", "a", "é"]
        connection.close()


class TestS3:
    def test_what_is_put_can_be_got(self, s3: S3, bucket: str) -> None:
        client = s3.client()
        client.put_object(Bucket=bucket, Key="a/b.csv", Body=b"1,2\n")
        assert client.get_object(Bucket=bucket, Key="a/b.csv")["Body"].read() == b"1,2\n"

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="rclone comes for Python 3.12 and later")
    def test_rclone_keeps_objects_as_files_and_checks_the_key(self, tmp_path: Path) -> None:
        with RcloneS3.start(tmp_path / "r") as server:
            server.client().put_object(Bucket=server.bucket, Key="a.csv", Body=b"1,2\n")
            assert (tmp_path / "r" / "objects" / server.bucket / "a.csv").read_bytes() == b"1,2\n"
            wrong = replace(server, secret_key="wrong")
            with pytest.raises(Exception, match=r"SignatureDoesNotMatch|403|Forbidden"):
                wrong.client().list_objects_v2(Bucket=server.bucket)


class TestPrefect:
    def test_it_answers_and_its_pages_ask_the_right_port(
        self, prefect_server: PrefectServer
    ) -> None:
        with urllib.request.urlopen(f"{prefect_server.ui_url}/ui-settings") as response:
            assert json.load(response)["api_url"] == prefect_server.api_url
        assert os.environ["PREFECT_API_URL"] == prefect_server.api_url

    @pytest.mark.parametrize("auth_string", [None, "ferry:another", ":"])
    def test_its_api_answers_nobody_without_the_auth_string(
        self, prefect_server: PrefectServer, auth_string: str | None
    ) -> None:
        for path in ("block_documents/filter", "deployments/filter", "logs/filter"):
            request = urllib.request.Request(f"{prefect_server.api_url}/{path}", data=b"{}")
            request.add_header("Content-Type", "application/json")
            if auth_string:
                token = base64.b64encode(auth_string.encode()).decode()
                request.add_header("Authorization", f"Basic {token}")
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            refused.value.close()
            assert refused.value.code == 401

    def test_its_pages_ask_for_the_auth_string_and_no_other_origin_may_ask(
        self, prefect_server: PrefectServer
    ) -> None:
        with urllib.request.urlopen(f"{prefect_server.ui_url}/ui-settings") as response:
            assert json.load(response)["auth"] == "BASIC"
        request = urllib.request.Request(f"{prefect_server.api_url}/health")
        request.add_header("Origin", "http://elsewhere.example")
        with urllib.request.urlopen(request) as response:
            assert response.headers["Access-Control-Allow-Origin"] is None

    def test_no_list_of_processes_and_no_log_shows_the_auth_string(
        self, prefect_server: PrefectServer
    ) -> None:
        process = prefect_server.process
        password = prefect_server.auth_string.partition(":")[2]
        shown = Path(f"/proc/{process.pid}/cmdline").read_text() + repr(prefect_server)
        assert password not in shown + process.log_path.read_text() + str(process.record())

    def test_a_worker_told_to_run_once_ends_well(
        self, prefect_server: PrefectServer, tmp_path: Path
    ) -> None:
        with ProcessWorker.start(tmp_path, server=prefect_server, run_once=True) as worker:
            assert worker.finish() == 0
