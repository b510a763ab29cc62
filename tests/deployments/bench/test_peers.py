"""What is said of the peers: who is the fastest, who was left out, and how it is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deployments.bench import page
from deployments.bench.measured import Measured, MeasuredError
from deployments.bench.peer import PeerError
from deployments.bench.peers import chart, race
from deployments.bench.peers.tools import DLT, PEERS, SLING, Peer, Tool
from deployments.bench.table import Samples

ROWS = {"nps": 5_000_000, "orders": 1_000_000}
CSV, PARQUET, BY_SLING = (each.name for each in PEERS)


def found(**seconds: dict[str, float]) -> race.Found:
    """What was measured, had one round taken these seconds."""
    result = race.Found(ROWS)
    for table in ROWS:
        result.dump[table] = Samples([2.0])
        result.load[table] = Samples([2.0])
        result.ours[table] = Samples([6.0], [400.0])
    for table, taken in seconds.items():
        for name, value in taken.items():
            result.peers[name, table] = Samples([value], [300.0])
    return result


def cells(result: race.Found, what: str, table: str) -> list[tuple[str, ...]]:
    return [
        each[2:]
        for each in race.table_rows(result)
        if each[0] == what and each[1].startswith(table)
    ]


def test_ours_is_held_to_the_fastest_peer_of_each_table() -> None:
    result = found(
        nps={CSV: 30.0, PARQUET: 12.0, BY_SLING: 20.0}, orders={CSV: 30.0, BY_SLING: 20.0}
    )
    what = "whole path to PostgreSQL, full, to the fastest peer"
    assert cells(result, what, "nps") == [("", "0.50", PARQUET, "0.33", "no", "", "")]
    assert cells(result, what, "orders") == [("", "0.30", BY_SLING, "0.33", "yes", "", "")]
    assert cells(result, BY_SLING, "nps") == [("20.00", "5.00", "dump + COPY", "", "", "", "300")]
    assert cells(result, PARQUET, "orders") == []


def test_without_peers_there_is_nothing_to_be_held_to() -> None:
    told = [each[0] for each in race.table_rows(found())]
    assert told == [
        f"beside the peers: {what}"
        for what in ("the client's dump", "COPY of the dump", "whole path to PostgreSQL, full")
    ] * len(ROWS)


def test_a_peer_that_is_not_to_be_had_or_fails_is_told_and_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def make_environment(tool: Tool, folder: Path) -> Path:
        if tool is SLING:
            raise PeerError("pip: there is none")
        return folder

    def carry(each: Peer, python: Path, servers: Any, table: str) -> Measured:
        if (each.name, table) == (CSV, "orders"):
            raise MeasuredError("exit code 1\nTraceback\nIt broke")
        return Measured({"seconds": 9.0}, 250.0)

    monkeypatch.setattr(race, "make_environment", make_environment)
    monkeypatch.setattr(race, "versions", lambda tool, python: "dlt 1.31.0")
    monkeypatch.setattr(race, "carry", carry)
    monkeypatch.setattr(race, "_measure_floor", lambda servers, result, table: None)
    monkeypatch.setattr(race, "_check", lambda servers, table, target: None)
    servers: Any = SimpleNamespace(folder=tmp_path, empty_targets=lambda: None)
    result = race.measure(
        servers, lambda *arguments: Measured({"seconds": 3.0}, 400.0), ROWS, 2, lambda text: None
    )
    assert result.notes == [
        "A peer is dlt 1.31.0.",
        "Sling could not be installed here: pip: there is none.",
        f"{CSV} failed with orders: It broke",
    ]
    taken = {key: len(samples.seconds) for key, samples in result.peers.items()}
    assert taken == {(CSV, "nps"): 1, (PARQUET, "nps"): 2, (PARQUET, "orders"): 2}
    assert len(result.ours["orders"].seconds) == 2


def test_a_target_that_has_other_values_is_no_success() -> None:
    class Source:
        def connect(self) -> Source:
            return self

        cursor = connect

        def __enter__(self) -> Source:
            return self

        def __exit__(self, *ignored: object) -> None:
            pass

        def execute(self, query: str) -> None:
            assert query == "SELECT COUNT(*), SUM(score) FROM nps"

        def fetchone(self) -> tuple[int, int]:
            return (5, 10)

    asked = []
    servers: Any = SimpleNamespace(
        mariadb=Source(), fetch=lambda query, values: asked.append(query) or [(5, 11)]
    )
    with pytest.raises(MeasuredError, match=r"\(5, 11\), and \(5, 10\) were to be carried"):
        race._check(servers, "nps", "nps_postgres")
    assert asked == ["SELECT COUNT(*), SUM(score) FROM bench.nps_postgres"]


def test_both_tools_verify_both_servers_and_take_any_password() -> None:
    def server(name: str) -> SimpleNamespace:
        return SimpleNamespace(
            host="127.0.0.1",
            port=1,
            user="ferry",
            password="a/b@c:%d",
            database=name,
            ca_path=Path(f"/tls/{name} ca.pem"),
        )

    servers: Any = SimpleNamespace(
        folder=Path("/bench"), mariadb=server("shop"), postgres=server("dwh")
    )
    told = DLT.environment(servers)
    for name in ("PEER_SOURCE", "PEER_READER", "PEER_TARGET"):
        assert urlsplit(told[name]).password == "a%2Fb%40c%3A%25d"
    assert parse_qs(urlsplit(told["PEER_SOURCE"]).query)["ssl_ca"] == ["/tls/shop ca.pem"]
    reader = parse_qs(urlsplit(told["PEER_READER"]).query)
    assert (reader["ssl-mode"], reader["ssl-ca"]) == (["VERIFY_IDENTITY"], ["/tls/shop ca.pem"])
    target = parse_qs(urlsplit(told["PEER_TARGET"]).query)
    assert target == {"sslmode": ["verify-full"], "sslrootcert": ["/tls/dwh ca.pem"]}
    told = SLING.environment(servers)
    shop, warehouse = json.loads(told["SHOP"]), json.loads(told["WAREHOUSE"])
    assert (shop["tls"], told["SSL_CERT_FILE"]) == ("true", "/tls/shop ca.pem")
    assert (warehouse["sslmode"], warehouse["sslrootcert"]) == ("verify-full", "/tls/dwh ca.pem")
    assert shop["password"] == warehouse["password"] == "a/b@c:%d"


def test_the_chart_is_the_same_every_time_and_stands_in_the_page_with_its_words(
    tmp_path: Path,
) -> None:
    result = found(nps={CSV: 30.0}, orders={CSV: 10.0, BY_SLING: 12.25})
    image, words = chart.draw(result), chart.in_words(result)
    assert image == chart.draw(result)
    assert words == (
        "Seconds from MariaDB to PostgreSQL, as bars. "
        f"nps, 5,000,000 rows. dump + COPY: 4.0; Ferry: 6.0; {CSV}: 30.0. "
        f"orders, 1,000,000 rows. dump + COPY: 4.0; Ferry: 6.0; {CSV}: 10.0; {BY_SLING}: 12.2."
    )
    file = tmp_path / "speed.md"
    file.write_text("before\n<!-- peers: begin -->\nold\n<!-- peers: end -->\nafter\n")
    page.write(file, page.with_image(file, "peers", image, words, ["| a |"]), "make bench", "peers")
    assert (tmp_path / "speed-peers.svg").read_bytes() == image
    lines = file.read_text().splitlines()
    assert f"![{words}](speed-peers.svg)" in lines
    assert lines[-4:] == ["", "| a |", "<!-- peers: end -->", "after"]
