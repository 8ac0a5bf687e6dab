"""Opening banks by URL, with real distributions on the path in place of mocks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import numpy as np
import pytest

from lorabank.bank import LexicalHashingEmbedder, StandardBank, list_backends, open_bank
from lorabank.errors import EmbeddingSpaceError, InvalidInputError, UnknownBackendError
from lorabank.protocols import ReasoningBank
from lorabank.types.query import Query
from lorabank.types.space import EmbeddingSpace

SPACE = EmbeddingSpace("toy", 2)

PLUGIN = """
from contextlib import asynccontextmanager
from lorabank.bank import StandardBank
from lorabank.hooks import Backend, hookimpl
from lorabank_memory import MemoryStore

events = []

@asynccontextmanager
async def open_native(url):
    events.append(("open", dict(url.options)))
    yield StandardBank(MemoryStore())
    events.append(("close", url.path))

@hookimpl
def lorabank_register_backends(register):
    register(Backend("native", open_bank=open_native))
    register(Backend("second", open_bank=open_native))
"""

Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with one backend on the path, as an installer would."""
    known = set(sys.modules)

    def add(distribution: str, scheme: str, source: str) -> None:
        root = tmp_path / distribution
        module = f"backend_of_{distribution.replace('-', '_')}"
        info = root / f"{distribution.replace('-', '_')}-3.1.dist-info"
        info.mkdir(parents=True)
        (root / f"{module}.py").write_text(source)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 3.1\nSummary: A test.\n"
        )
        (info / "entry_points.txt").write_text(f"[lorabank.backends]\n{scheme} = {module}\n")
        monkeypatch.syspath_prepend(str(root))

    yield add
    for name in set(sys.modules) - known:
        if name.startswith("backend_of_"):
            del sys.modules[name]


async def open_and_close(url: str, **options) -> None:
    with anyio.fail_after(10):
        async with open_bank(url, **options):
            pass


async def test_a_store_is_wrapped_and_bound() -> None:
    async with open_bank("memory://", space=SPACE) as bank:
        assert isinstance(bank, StandardBank)
        assert isinstance(bank, ReasoningBank)
        assert bank.space == SPACE


async def test_a_native_bank_comes_as_it_is_and_is_closed(install: Install) -> None:
    install("acme-bank", "native", PLUGIN)
    with anyio.fail_after(10):
        async with open_bank("native://host/a?x=1", space=SPACE) as bank:
            assert bank.space == SPACE
    assert sys.modules["backend_of_acme_bank"].events == [("open", {"x": "1"}), ("close", "/a")]


async def test_a_native_bank_takes_no_embedder(install: Install) -> None:
    install("acme-bank", "native", PLUGIN)
    with pytest.raises(InvalidInputError, match="embedder"):
        await open_and_close("native://", embedder=LexicalHashingEmbedder(8))


@pytest.mark.parametrize(
    ("scheme", "distribution"),
    [("faiss", "lorabank-faiss"), ("agentic-flow+stdio", "lorabank-agentic-flow")],
)
async def test_a_known_backend_says_what_to_install(
    scheme: str, distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorabank.bank.discovery.entry_points", lambda **_: ())
    with pytest.raises(UnknownBackendError) as caught:
        await open_and_close(f"{scheme}://x")
    assert str(caught.value) == f"unknown backend {scheme!r}: pip install {distribution}"


async def test_an_unknown_backend_lists_what_is_known_and_guesses() -> None:
    with pytest.raises(UnknownBackendError, match=r"did you mean 'memory'\? .*agentic-flow\+http"):
        await open_and_close("memroy://")


async def test_a_plugin_that_fails_to_import_is_named(install: Install) -> None:
    install("acme-bank", "acme", "import a_module_that_is_not_there")
    with pytest.raises(UnknownBackendError, match="acme-bank can't be imported") as caught:
        await open_and_close("acme://")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "does not register this scheme"),
        (PLUGIN, "does not register this scheme"),
        (PLUGIN.replace('"second"', '"native"'), "can't be registered"),
        (PLUGIN.replace("register(Backend", "register((Backend,") + "\n", "can't be"),
        (PLUGIN.replace("backends(register)", "backends(registrar)"), "can't be registered"),
    ],
    ids=["no hook", "another scheme", "twice", "broken", "wrong signature"],
)
async def test_a_plugin_that_does_not_register_its_scheme_is_named(
    install: Install, source: str, message: str
) -> None:
    install("acme-bank", "acme", source)
    with pytest.raises(UnknownBackendError, match=f"acme-bank {message}"):
        await open_and_close("acme://")


async def test_two_distributions_for_one_scheme_are_refused(install: Install) -> None:
    install("acme-bank", "native", PLUGIN)
    install("other-bank", "native", PLUGIN)
    with pytest.raises(UnknownBackendError, match="acme-bank, other-bank"):
        await open_and_close("native://")


def test_listing_imports_nothing(install: Install) -> None:
    install("acme-bank", "acme", "raise RuntimeError('imported')")
    found = {info.scheme: info for info in list_backends()}
    assert (found["acme"].distribution, found["acme"].version) == ("acme-bank", "3.1")
    assert found["acme"].description == "A test."
    assert found["memory"].installed
    assert found["agentic-flow+http"].distribution == "lorabank-agentic-flow"
    assert list(found) == sorted(found)


@pytest.mark.parametrize("url", ["", "memory", "memory:", 7, "memory://?a=1&a=2"])
async def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="bank"):
        await open_and_close(url)


async def test_embedder_and_space_must_agree() -> None:
    embedder = LexicalHashingEmbedder(16)
    async with open_bank("memory://", embedder=embedder) as bank:
        assert bank.space == embedder.space
        with pytest.raises(EmbeddingSpaceError):
            await bank.bind(SPACE)
    with pytest.raises(EmbeddingSpaceError, match="lexical-hashing-16"):
        await open_and_close("memory://", embedder=embedder, space=SPACE)


async def test_text_alone_needs_an_embedder(make_pattern) -> None:
    async with open_bank("memory://") as bank:
        for ask in (bank.retrieve_patterns, bank.learn_strategy):
            with pytest.raises(InvalidInputError, match="no embedder"):
                await ask(Query("shop", task="jazz"))


async def test_text_finds_text_that_shares_its_words(make_pattern) -> None:
    embedder = LexicalHashingEmbedder(256)
    texts = ["Slow JAZZ piano", "hard rock guitar", "tax law for farmers"]
    async with open_bank("memory://", embedder=embedder) as bank:
        for text, vector in zip(texts, await embedder.embed(texts), strict=True):
            await bank.store_pattern(make_pattern(text, vector))
        matches = await bank.retrieve_patterns(Query("shop", task="some jazz piano, please"))
    assert matches[0].pattern.id == texts[0]
    assert matches[0].score > 0.4 > matches[1].score


@pytest.mark.parametrize("text", ["", "!?", "a", "\ud800", "été naïve \uff21\uff22", "x " * 5000])
async def test_the_embedder_gives_unit_vectors_and_the_same_ones_again(text: str) -> None:
    embedder = LexicalHashingEmbedder(3)
    with anyio.fail_after(10):
        first, again = await embedder.embed([text, text])
    assert first.dtype == np.float32
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-6)
    assert (first == again).all()
    assert ((await LexicalHashingEmbedder(3).embed([text]))[0] == first).all()


async def test_the_embedder_refuses_what_is_no_list_of_texts() -> None:
    for wrong in ("text", [1], [None]):
        with pytest.raises(InvalidInputError, match="texts"):
            await LexicalHashingEmbedder(3).embed(wrong)
    assert (await LexicalHashingEmbedder(3).embed([])).shape == (0, 3)


def test_the_embedder_says_once_that_it_is_lexical(caplog: pytest.LogCaptureFixture) -> None:
    LexicalHashingEmbedder(5)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "lexical, not semantic" in record.getMessage()
    assert "lexical-hashing-5" in record.getMessage()
