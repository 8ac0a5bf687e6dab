"""Many users in one call: what each user's own call gives, and no more memory than allowed."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from functools import partial

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from tests.engine.banks import FakeTime, make_config
from tests.personalizer.stores import ScriptedStore, batch

from lorabank import EmbeddingSpace, EngineConfig, Feedback, ItemPool, TrialConfig
from lorabank.adapter import Adapter
from lorabank.arena import Arena
from lorabank.errors import InvalidInputError, StoreError, StoreUnavailableError
from lorabank.personalizer import Personalizer, Selection, many
from lorabank.personalizer import adapters as adapters_module
from lorabank.personalizer.hot import OBJECTS
from lorabank.stores import open_adapter_store

DIM = 6
USERS = [f"user {number}" for number in range(40)]


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


async def stored(url: str, many: bool, kernel: str) -> dict[str, bytes]:
    """Everybody learns three times, from batches of several sizes; the stored adapters."""
    found = {}
    config = make_config(kernel=kernel)
    async with (
        open_adapter_store(url) as store,
        Personalizer.open(config, store=store, hot_adapters=15) as p,
    ):
        for turn in range(3):
            feedback = {user: batch(i + 100 * turn) for i, user in enumerate(USERS)}
            if many:
                done = await p.update_many(feedback)
                assert done.reports.keys() == feedback.keys()
                assert done.failed == {}
            else:
                for user, one in feedback.items():
                    await p.learn(user, one)
        for user in USERS:
            held = await store.get(user)
            assert held is not None
            found[user] = held.adapter.to_bytes()
    return found


@pytest.mark.parametrize("kernel", ["auto", "numpy"])
async def test_update_of_many_is_learning_of_each_to_the_bit(store_url: str, kernel: str) -> None:
    with anyio.fail_after(60):
        one_by_one = await stored("memory://", False, kernel)
        assert await stored(store_url, True, kernel) == one_by_one


@pytest.mark.parametrize("kernel", ["auto", "numpy"])
@pytest.mark.parametrize("hot_adapters", [7, 1000])
async def test_forward_of_many_is_transform_of_each(
    store_url: str, kernel: str, hot_adapters: int
) -> None:
    """Some are hot, some are stored, some are new, some come twice."""
    with anyio.fail_after(60):
        config = make_config(kernel=kernel)
        async with Personalizer.open(config, store=store_url, hot_adapters=hot_adapters) as p:
            done = await p.update_many({user: batch(i) for i, user in enumerate(USERS)})
            assert not done.failed
            asked = [*USERS, "new", *USERS[:5]]
            X = rows(len(asked))
            found = await p.forward_many(asked, X)
            for i, user in enumerate(asked):
                own = await p.transform(user, X[i])
                if kernel == "numpy":
                    np.testing.assert_allclose(found[i], own, rtol=1e-5, atol=1e-6)
                else:
                    assert found[i].tobytes() == own.tobytes()
            assert (found != X).any()


@pytest.mark.parametrize("kernel", ["auto", "numpy"])
async def test_a_selection_serves_what_ids_would(store_url: str, kernel: str) -> None:
    """Also after somebody learned, was forgotten, or came by, and when adapters have grown old."""
    with anyio.fail_after(60):
        time, asked = FakeTime(), [*USERS[::-1], "new", *USERS[:5]]
        config = make_config(kernel=kernel)
        async with (
            open_adapter_store(store_url) as store,
            Personalizer.open(config, store=store, clock=time.clock, hot_adapters=7) as p,
            Personalizer.open(config, store=store, clock=time.clock) as elsewhere,
        ):
            await p.update_many({user: batch(i) for i, user in enumerate(USERS)})
            chosen, X = Selection(asked), rows(len(asked))
            served = [await p.forward_many(chosen, X)]
            assert served[0].tobytes() == (await p.forward_many(asked, X)).tobytes()
            found = chosen.found
            out = np.empty_like(X)
            assert await p.forward_many(chosen, X, out) is out
            assert chosen.found is found
            assert out.tobytes() == served[0].tobytes()
            for change in (
                lambda: p.learn(USERS[3], batch(77)),
                lambda: p.forget(USERS[4]),
                lambda: p.learn("new", batch(78)),
            ):
                await change()
                served.append(await p.forward_many(chosen, X))
                assert served[-1].tobytes() == (await p.forward_many(asked, X)).tobytes()
            await elsewhere.learn(USERS[5], batch(79))
            time.advance(5.1)
            served.append(await p.forward_many(chosen, X))
            assert served[-1].tobytes() == (await p.forward_many(asked, X)).tobytes()
            assert len({one.tobytes() for one in served}) == len(served)
            other = await elsewhere.forward_many(chosen, X)
            assert other.tobytes() == served[-1].tobytes()


async def test_a_selection_refuses_what_ids_would() -> None:
    async with Personalizer.open(make_config()) as p:
        chosen, X = Selection(["a", "b"]), rows(2)
        for users in ([], "ab"):
            with pytest.raises(InvalidInputError, match="user_ids"):
                Selection(users)
        for ids in (["a", ""], ["a", None]):
            with pytest.raises(InvalidInputError, match="user_ids"):
                await p.forward_many(Selection(ids), X)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match="user_ids"):
            await p.forward_many(chosen, rows(3))
        for bad in (X, np.empty((2, DIM)), np.empty((3, DIM), np.float32), [[0.0] * DIM] * 2):
            with pytest.raises(InvalidInputError, match="out"):
                await p.forward_many(chosen, X, bad)  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(InvalidInputError, match="X"):
                await p.forward_many(chosen, np.full((2, DIM), np.inf))
            await p.forward_many(chosen, X)


async def test_adapters_of_several_ranks_are_served_together() -> None:
    """The store may hold adapters made under another rank."""
    async with open_adapter_store("memory://") as store:
        for rank, user in [(2, "two"), (3, "three")]:
            config = EngineConfig(EmbeddingSpace("test", DIM), rank=rank)
            async with Personalizer.open(config, store=store) as p:
                await p.learn(user, Feedback(rows(2), rows(2, 1)))
        async with Personalizer.open(config, store=store) as p:
            asked, X = ["two", "three", "two"], rows(3, 2)
            found = await p.forward_many(asked, X)
            for i, user in enumerate(asked):
                np.testing.assert_allclose(found[i], await p.transform(user, X[i]), rtol=1e-5)


async def test_large_work_leaves_the_event_loop() -> None:
    config = EngineConfig(EmbeddingSpace("test", 512), rank=8)
    async with Personalizer.open(config) as p:
        X = np.ones((600, 512), np.float32)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        await p.forward_many(["ada"], X[:1])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(others)
            with anyio.fail_after(30):
                assert (await p.forward_many(["ada"] * 600, X)).shape == X.shape
            assert turns > 1
            tasks.cancel_scope.cancel()


async def test_bad_input_changes_nothing_for_anybody() -> None:
    store = ScriptedStore()
    async with Personalizer.open(make_config(), store=store) as p:
        good = batch(0)
        wide = Feedback(np.ones((1, DIM + 1)), np.ones((1, DIM + 1)))
        for bad in ({"a": good, "": good}, {"a": good, "b": wide}, {"a": good, "b": "text"}):
            with pytest.raises(InvalidInputError):
                await p.update_many(bad)  # type: ignore[arg-type]
        assert store.committed == []
        for users, X in [(["a"], rows(2)), ("ab", rows(2)), (["a", ""], rows(2))]:
            with pytest.raises(InvalidInputError, match="user_ids"):
                await p.forward_many(users, X)
        with pytest.raises(InvalidInputError, match="X"):
            await p.forward_many(["a"], np.full((1, DIM), np.nan))
        assert (await p.update_many({})).reports == {}


async def test_a_fault_is_its_own_users_alone() -> None:
    store, failures = ScriptedStore(), 2

    async def fail() -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise StoreUnavailableError("busy")

    store.script["commit"] = fail
    async with Personalizer.open(make_config(), store=store) as p:
        zeros = Feedback(np.zeros((1, DIM)), np.ones((1, DIM)))
        feedback = {user: batch(i) for i, user in enumerate(USERS)} | {"zeros": zeros}
        done = await p.update_many(feedback)
        assert len(done.failed) == 3
        assert isinstance(done.failed.pop("zeros"), InvalidInputError)
        assert all(isinstance(exc, StoreError) for exc in done.failed.values())
        assert {user for user, _ in store.committed} == done.reports.keys()
        assert done.reports.keys() | done.failed.keys() == set(USERS)
        again = await p.update_many({user: feedback[user] for user in done.failed})
        assert again.failed == {}


async def test_hot_adapters_are_bounded_in_bytes() -> None:
    """Adapters in a trial take many times their weights; the arena follows."""
    config = EngineConfig(EmbeddingSpace("test", 64), rank=4, trials=TrialConfig(probability=1.0))
    limit = 400_000
    async with Personalizer.open(config, bank="memory://", hot_bytes=limit) as p:
        hot = p._parts.adapters._hot
        for number in range(60):
            x = np.random.default_rng(number).standard_normal((3, 64))
            await p.learn(f"user {number}", Feedback(x, 0.5 * x))
            assert hot.nbytes <= limit
            assert hot.nbytes == sum(one.nbytes for one in hot)
        sizes = [one.nbytes for one in hot]
        # Each holds nine arms beside the weights.
        assert min(sizes) > 5 * (2 * 4 * 64 * 4)
        assert len(hot) == limit // max(sizes) < 60


async def test_a_single_adapter_is_kept_though_it_is_too_large() -> None:
    async with Personalizer.open(make_config(), hot_bytes=1) as p:
        await p.learn("ada", batch(0))
        await p.learn("eve", batch(1))
        assert [hot.adapter.user_id for hot in p._parts.adapters._hot] == ["eve"]
        assert p._parts.adapters._hot.nbytes > OBJECTS


async def test_served_and_updated_weights_live_in_the_arena_until_they_are_dropped(
    sqlite_url: str,
) -> None:
    async with Personalizer.open(make_config(), store=sqlite_url, hot_adapters=5) as p:
        await p.update_many({user: batch(i) for i, user in enumerate(USERS)})
        adapter: Adapter = await p._parts.adapters.to_serve(USERS[0], np.ones(DIM, np.float32))
        arena = p._parts.adapters.arena(adapter.rank)
        before = adapter.A.copy(), adapter.B.copy()
        await let_go(arena)
        await p.forward_many(USERS, rows(len(USERS)))
        await p.update_many({user: batch(i) for i, user in enumerate(USERS)})
        assert (before[0] == adapter.A).all()
        assert (before[1] == adapter.B).all()
        await let_go(arena)
    assert isinstance(adapter, Adapter)


async def test_the_arena_grows_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the first slab, whose pages are small."""
    made_in, new_slab = [], Arena.new_slab

    def watched(arena: Arena) -> np.ndarray:
        made_in.append(threading.get_ident())
        return new_slab(arena)

    monkeypatch.setattr(Arena, "new_slab", watched)
    async with Personalizer.open(make_config(), hot_adapters=1000) as p:
        small = partial(Arena, slab_bytes=4 * 32 * 40)  # forty blocks
        monkeypatch.setattr(adapters_module, "Arena", small)
        for user in USERS:
            await p.learn(user, batch(0))
            await p.learn(f"{user} too", batch(1))
            await p.transform(f"{user} as well", rows(1))
        arena = p._parts.adapters.arena(2)
        assert len(arena.slabs) == 1 + len(made_in) == 4
    assert threading.get_ident() not in made_in


async def let_go(arena: Arena) -> None:
    """Five hot ones and one that is held, once everybody else has let go."""
    with anyio.fail_after(10):
        while len(arena) > 6:
            await anyio.lowlevel.checkpoint()
            gc.collect()


async def test_a_pool_is_used_as_by_learn() -> None:
    items = ItemPool(rows(20, 5))
    config = EngineConfig(EmbeddingSpace("test", DIM), rank=2, objective="contrastive")
    async with Personalizer.open(config, items=items) as p:
        done = await p.update_many({u: Feedback(rows(2), items=[1, 2]) for u in USERS[:4]})
        assert done.reports.keys() == set(USERS[:4])


@pytest.mark.parametrize(("steps", "hot_adapters"), [("AT_ONCE", 100), ("BLOCK", 20)])
async def test_thousands_of_users_leave_others_their_turns(
    monkeypatch: pytest.MonkeyPatch, steps: str, hot_adapters: int
) -> None:
    """Whether all of them are hot, or some have to be read."""
    monkeypatch.setattr(many, steps, 5)
    ticks = 0
    async with Personalizer.open(make_config(), hot_adapters=hot_adapters) as p:
        X = rows(len(USERS))
        await p.update_many({user: batch(i) for i, user in enumerate(USERS)})

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.lowlevel.checkpoint()
                ticks += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            await anyio.lowlevel.checkpoint()
            before = ticks
            found = await p.forward_many(USERS, X)
            assert before + 4 <= ticks
            if hot_adapters > len(USERS):
                assert ticks <= before + 10, "everybody is at hand: no task for each"
            tasks.cancel_scope.cancel()
    assert found.shape == X.shape


def looked_up(p: Personalizer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many users each look into the hot ones is for, from now on."""
    hot, counts = p._parts.adapters._hot, []
    find = hot.find

    def counting(user_ids: Sequence[str], *into: np.ndarray) -> bool:
        counts.append(len(user_ids))
        return find(user_ids, *into)

    monkeypatch.setattr(hot, "find", counting)
    return counts


async def test_the_same_ids_again_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same is what has the same text, in the same order; what changes in between is served."""
    async with Personalizer.open(make_config()) as p:
        await p.update_many({user: batch(i) for i, user in enumerate(USERS)})
        asked, X = USERS[::-1], rows(len(USERS))
        counts, served = looked_up(p, monkeypatch), []

        async def serve(users: Sequence[str], looks: int) -> None:
            del counts[:]
            served.append((await p.forward_many(users, X)).tobytes())
            assert len(counts) == looks
            for i, user in enumerate(users):
                own = await p.transform(user, X[i])
                np.testing.assert_allclose(
                    np.frombuffer(served[-1], np.float32)[DIM * i :][:DIM], own, 1e-5, 1e-6
                )

        await serve(asked, 1)
        for same in (asked, list(asked), tuple(asked), [f"user {text[5:]}" for text in asked]):
            await serve(same, 0)
        asked[0], asked[1] = asked[1], asked[0]
        await serve(asked, 1)
        await p.learn(USERS[3], batch(77))
        for looks in (1, 0):
            await serve(asked, looks)
        await p.forget(USERS[4])
        for looks in (1, 1, 0):  # the first finds that one is not hot, and is not kept
            await serve(asked, looks)
        assert len(set(served)) == 4


async def test_what_is_no_list_of_ids_is_refused_after_one_that_is() -> None:
    async with Personalizer.open(make_config()) as p:
        X = rows(2)
        await p.forward_many(["a", "b"], X)
        for users in (["a", np.arange(3)], ["a", None], ["a", b"b"], ["a", ["b"]], "ab"):
            with pytest.raises(InvalidInputError, match="user_ids"):
                await p.forward_many(users, X)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match="row 1"):
            await p.forward_many(["a", "b"], np.array([[0.0] * DIM, [np.inf] * DIM]))


async def test_what_changes_during_a_call_is_served_as_it_was_or_is(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others learn, are forgotten and take the places of those who were looked up already."""
    monkeypatch.setattr(many, "AT_ONCE", 3)
    X = rows(len(USERS))
    async with Personalizer.open(make_config(), store=sqlite_url, hot_adapters=40) as p:
        await p.update_many({user: batch(i) for i, user in enumerate(USERS)})

        async def views() -> list[bytes]:
            return [(await p.transform(user, X[i])).tobytes() for i, user in enumerate(USERS)]

        async def serve() -> None:
            found = await p.forward_many(USERS, X)
            served.extend(row.tobytes() for row in found)

        for turn in range(20):
            possible, served = [await views()], []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve)
                await anyio.lowlevel.checkpoint()
                for other in (1, 38):
                    await p.learn(USERS[(turn + other) % 40], batch(turn))
                await p.transform(f"other {turn}", X[0])  # somebody makes room
                await p.learn(f"other {turn}", batch(turn))
            possible.append(await views())
            assert len(served) == len(USERS)
            for row, *views_of in zip(served, *possible, strict=True):
                assert row in views_of
        arena = p._parts.adapters.arena(2)
        with anyio.fail_after(10):
            while len(arena) > len(USERS):
                await anyio.lowlevel.checkpoint()
                gc.collect()
