"""Every error of Ferry's that leaves a block names it, whatever kind of operation it was."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from blocks.named import NamedBlock
from blocks.sources import SOURCES, SQLiteSource
from blocks.stages import STAGES
from blocks.warehouses import WAREHOUSES
from ferry.errors import AccessError, ConfigurationError, FerryError, StaleReadError

KINDS = (*SOURCES, *STAGES, *WAREHOUSES)


class Role(NamedBlock):
    def call(self) -> None: ...

    def read(self) -> Iterator[int]:
        yield 0

    @contextmanager
    def enter(self) -> Iterator[int]:
        yield 0


class Engine(Role):
    _block_type_slug = "engine"

    def call(self) -> None:
        raise AccessError("refused")

    def read(self) -> Iterator[int]:
        yield 1
        raise AccessError("refused")

    @contextmanager
    def enter(self) -> Iterator[int]:
        raise AccessError("refused")
        yield 1

    def other(self) -> None:
        raise AccessError("not one of the role's operations")


def saved() -> Engine:
    engine = Engine()
    engine._block_document_name = "billing"
    return engine


@pytest.mark.parametrize(
    "use",
    [
        lambda engine: engine.call(),
        lambda engine: list(engine.read()),
        lambda engine: engine.enter().__enter__(),
    ],
    ids=["call", "read", "enter"],
)
def test_an_operation_s_error_names_the_block(use: Any) -> None:
    with pytest.raises(AccessError, match=r"^FERRY-ACCESS: at engine/billing: refused$"):
        use(saved())
    with pytest.raises(AccessError, match=r"^FERRY-ACCESS: refused$"):
        use(Engine())  # neither saved nor loaded: it has no name


def test_an_error_that_names_a_block_keeps_it() -> None:
    class Proxy(Role):
        _block_type_slug = "proxy"

        def call(self) -> None:
            saved().call()

    proxy = Proxy()
    proxy._block_document_name = "front"
    with pytest.raises(AccessError, match="engine/billing"):
        proxy.call()


def test_what_the_user_of_a_context_raises_is_the_same_error() -> None:
    class Open(Role):
        @contextmanager
        def enter(self) -> Iterator[int]:
            yield 1

    error = StaleReadError("stale")
    with pytest.raises(FerryError) as raised, Open().enter() as entered:
        assert entered == 1
        raise error
    assert raised.value is error


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_misspelled_field_is_refused_with_the_names_there_are(kind: type[NamedBlock]) -> None:
    name = next(iter(kind.model_fields))
    with pytest.raises(ConfigurationError) as caught:
        kind(**{f"{name}s": "s3cret"})
    told = str(caught.value)
    assert f"{kind.__name__} has no field '{name}s'; expected perhaps {name!r}" in told
    assert all(field in told for field in kind.model_fields)
    assert "s3cret" not in told


def test_a_stored_field_that_this_version_does_not_know_is_left_out() -> None:
    stored = {"path": "shop.sqlite", "block_type_slug": "sqlite-source", "of_another_version": 1}
    source = SQLiteSource.model_validate(stored)
    assert (source.path, hasattr(source, "of_another_version")) == ("shop.sqlite", False)
    assert stored["of_another_version"] == 1


@pytest.mark.usefixtures("prefect_server")
def test_a_block_that_another_version_has_stored_is_loaded() -> None:
    name = f"b-{uuid.uuid4().hex[:10]}"
    document_id = SQLiteSource(path="shop.sqlite").save(name)
    stored = {"path": "shop.sqlite", "busy_timeout_seconds": 1, "of_another_version": 1}
    with get_client(sync_client=True) as client:
        client.request(
            "PATCH", "/block_documents/{id}", path_params={"id": document_id}, json={"data": stored}
        ).raise_for_status()
    loaded = SQLiteSource.load(name)
    assert isinstance(loaded, SQLiteSource)
    assert (loaded.path, loaded.busy_timeout_seconds) == ("shop.sqlite", 1)
    assert loaded.slug == f"sqlite-source/{name}"
    again = SQLiteSource(**loaded.model_dump())  # in which Prefect has what is the document's
    assert (again.path, again.busy_timeout_seconds) == ("shop.sqlite", 1)
    assert SQLiteSource.model_validate_json(loaded.model_dump_json()).path == "shop.sqlite"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_block_names_itself_in_all_it_does(kind: type[NamedBlock]) -> None:
    assert len(kind._operations) >= 5
    for name in kind._operations:
        assert hasattr(getattr(kind, name), "__wrapped__"), name
