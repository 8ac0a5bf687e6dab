"""The in-memory store against the words of `PatternStore`, and against a search by brute force."""

from __future__ import annotations

import gc
from bisect import insort
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from lorabank.bank import open_bank
from lorabank.errors import BankClosedError, EmbeddingSpaceError, InvalidInputError
from lorabank.hooks import BankUrl
from lorabank.protocols import Capability, PatternStore, TrialSearch
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import ArmOutcome, TrialOutcome
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank.types.skill import Evidence, Skill
from lorabank.types.space import EmbeddingSpace
from lorabank_conformance.compare import assert_same
from lorabank_memory import MemoryStore, namespace, ordering, segment
from lorabank_memory import store as store_module
from lorabank_memory.plugin import open_memory_store
from lorabank_memory.records import pattern_of, records_of

SPACE = EmbeddingSpace("toy", 2)
FILTERS = [
    EVERYTHING,
    PatternFilter(user_key="u3"),
    PatternFilter(exclude_user_key="u3"),
    PatternFilter(min_reward=0.6),
    PatternFilter(success=False),
    PatternFilter(success=True, since=1200.0, until=1900.0),
    PatternFilter(objective="contrastive"),
    PatternFilter(objective="nothing like it"),
    PatternFilter(rank=8),
    PatternFilter(has_trial=True),
    PatternFilter(has_trial=False, objective="mse", exclude_user_key="u1", min_reward=0.2),
]


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with open_memory_store(BankUrl.parse("memory://")) as opened:
        yield opened


NO_ARMS = TrialOutcome(1.0, 1.0, 1.0, 1, ())


def random_patterns(make_pattern, count, dim=8, seed=0):
    rng = np.random.default_rng(seed)
    return [
        make_pattern(
            f"p{number:05d}",
            rng.standard_normal(dim) * 10.0 ** rng.integers(-20, 20),
            user_key=f"u{number % 7}",
            objective=("mse", "contrastive")[int(rng.integers(2))],
            rank=int(rng.choice([4, 8])),
            created_at=1000.0 + number,
            gain=None if rng.random() < 0.3 else float(rng.uniform(-1, 1)),
            trial=NO_ARMS if rng.random() < 0.5 else None,
        )
        for number in rng.permutation(count)
    ]


def by_brute_force(patterns, vector, k, where):
    def cosine(context):
        a, b = context.astype(np.float64), np.asarray(vector, np.float64)
        norms = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / norms) if norms > 0 else 0.0

    found = [(round(cosine(p.context), 6), p.id) for p in patterns if where.matches(p)]
    return sorted(found, key=lambda pair: (-pair[0], pair[1]))[:k]


def as_pairs(matches):
    return [(pytest.approx(match.score, abs=2e-6), match.pattern.id) for match in matches]


def make_skill(skill_id="everyone", space=SPACE, **given):
    fields = {
        "namespace": "shop",
        "name": skill_id,
        "objective": "mse",
        "centroid": np.eye(1, space.dim)[0],
        "min_similarity": -1.0,
        "evidence": Evidence(0.1, 0.05, 0.15, 9, 20),
        "passed": True,
        "user_keys": ("ada",),
        "created_at": 1000.0,
    }
    return Skill(id=skill_id, space=space, **{**fields, **given})


def test_it_is_a_pattern_store() -> None:
    assert isinstance(MemoryStore(), PatternStore)
    assert isinstance(MemoryStore(), TrialSearch)
    deletes = {Capability.DELETE, Capability.DELETE_SKILL, Capability.REFUSE}
    expected = deletes | {Capability.TRIALS}
    assert MemoryStore().capabilities == expected


@pytest.mark.parametrize("where", FILTERS, ids=repr)
@pytest.mark.parametrize("k", [1, 7, 1000])
async def test_search_is_exact_under_every_filter(store, make_pattern, where, k) -> None:
    patterns = random_patterns(make_pattern, 300)
    await store.put_many(patterns)
    vector = np.random.default_rng(1).standard_normal(8).astype(np.float32)
    with anyio.fail_after(10):
        matches = await store.search("shop", vector, k, where)
    assert as_pairs(matches) == by_brute_force(patterns, vector, k, where)


async def test_a_search_in_a_worker_thread_gives_the_same(store, make_pattern, monkeypatch) -> None:
    patterns = random_patterns(make_pattern, 200)
    await store.put_many(patterns)
    vector = np.ones(8, np.float32)
    inline = await store.search("shop", vector, 20, PatternFilter(success=True))
    monkeypatch.setattr(store_module, "_INLINE_ROWS", 0)
    with anyio.fail_after(10):
        threaded = await store.search("shop", vector, 20, PatternFilter(success=True))
    assert [(m.score, m.pattern.id) for m in threaded] == [(m.score, m.pattern.id) for m in inline]


def with_everything(make_pattern, number):
    """A pattern of which no field has its default."""
    settings = Hyperparameters(0.1 + number, 2.0, 0.5, 1 + number % 3)
    arms = (ArmOutcome("steps", 2.0, 0.3), ArmOutcome("learning_rate", 0.5, 0.1 + number))
    trial = TrialOutcome(1.0, 2.0, 3.0, 4, arms, replace(settings, steps=7))
    return make_pattern(
        f"p{number:05d}",
        np.arange(4) + number,
        hyperparameters=settings,
        selection="explored",
        propensity=0.25,
        latency_ms=1.5,
        critique="good",
        skill_ids=("s1", "s2"),
        gain=0.5,
        trial=trial,
    )


def test_records_give_every_field_back(make_pattern) -> None:
    patterns = [with_everything(make_pattern, number) for number in range(3)]
    patterns += [make_pattern("plain", gain=None), make_pattern("armless", trial=NO_ARMS)]
    records = records_of(patterns, len(patterns))
    assert_same([pattern_of(record) for record in records], patterns)


def test_settings_that_are_equal_but_of_other_types_stay_apart(make_pattern) -> None:
    kinds = [Hyperparameters(1, 1.0, 0.0, 1), Hyperparameters(1.0, 1.0, 0, 1)]
    patterns = [make_pattern(str(i), hyperparameters=kind) for i, kind in enumerate(kinds)]
    found = [pattern_of(record).hyperparameters for record in records_of(patterns, 2)]
    assert [repr(each) for each in found] == [repr(kind) for kind in kinds]


def tracked_after_collections() -> int:
    """How many objects the collector of cycles walks, once it has met all that is new."""
    for _ in range(4):  # a tuple is dropped after those in it, and a record is four deep
        gc.collect()
    return len(gc.get_objects())


async def test_the_collector_of_cycles_does_not_walk_what_is_stored(store, make_pattern) -> None:
    await store.put_many([with_everything(make_pattern, number) for number in range(64)])
    tracked = tracked_after_collections()
    more = 15 * 128 + 64  # as many as before wait to be put in order
    await store.put_many([with_everything(make_pattern, 64 + number) for number in range(more)])
    assert tracked_after_collections() - tracked < 100  # of 2000 patterns


async def test_a_running_search_keeps_what_it_began_with(store, make_pattern) -> None:
    patterns = random_patterns(make_pattern, 50)
    await store.put_many(patterns)
    names = {pattern.id for pattern in patterns}
    space = store._namespaces["shop"]
    with space.reading() as views:
        before = [view.unit.copy() for view in views]
        await store.delete("shop", PatternFilter(user_key="u3"))
        await store.put_many([replace(pattern, task="new") for pattern in patterns[:20]])
        await store.put_many([make_pattern("late", np.ones(8))])
        for view, unit in zip(views, before, strict=True):
            assert (view.unit == unit).all()
            held = [pattern_of(record) for record in view.records]
            assert len(held) == len(unit)
            assert {pattern.id for pattern in held} <= names
            assert not any(pattern.task == "new" for pattern in held)


async def test_equal_scores_come_by_id_wherever_they_are_stored(
    store, make_pattern, monkeypatch
) -> None:
    monkeypatch.setattr("lorabank_memory.namespace.CAPACITY", 8)
    monkeypatch.setattr(segment, "CAPACITY", 8)
    rng = np.random.default_rng(3)
    context = rng.standard_normal(33)
    ids = [f"{number:03d}" for number in range(100)]
    await store.put_many(
        [make_pattern(i, context * rng.uniform(1, 9)) for i in rng.permutation(ids)]
    )
    matches = await store.search("shop", rng.standard_normal(33), 30, EVERYTHING)
    assert [match.pattern.id for match in matches] == ids[:30]


async def test_scores_stay_within_one_and_zero_vectors_score_zero(store, make_pattern) -> None:
    tiny = np.full(2, 1e-44, np.float32)  # the square of this is zero in float32
    await store.put_many(
        [make_pattern("same", tiny), make_pattern("zero", (0, 0)), make_pattern("other", (-9, -9))]
    )
    matches = await store.search("shop", np.array([3e30, 3e30]), 5, EVERYTHING)
    assert [(m.pattern.id, m.score) for m in matches] == [
        ("same", 1.0),
        ("zero", 0.0),
        ("other", -1.0),
    ]
    assert {m.score for m in await store.search("shop", np.zeros(2), 5, EVERYTHING)} == {0.0}


async def test_put_replaces_and_storing_twice_is_storing_once(store, make_pattern) -> None:
    old, new = make_pattern("a", (1, 0)), make_pattern("a", (0, 1), task="again")
    await store.put_many([old, make_pattern("b", (1, 0))])
    await store.put_many([old, new])
    await store.put_many([new])
    assert (await store.stats("shop")).patterns == 2
    (best,) = await store.search("shop", np.array([0.0, 1.0]), 1, EVERYTHING)
    assert (best.pattern.task, best.score) == ("again", 1.0)
    found = await store.get("shop", ["b", "missing", "a"])
    assert [(pattern.id, pattern.task) for pattern in found] == [("b", old.task), ("a", "again")]
    assert_same(found[1:], [new])


async def test_put_many_changes_nothing_if_one_pattern_is_wrong(store, make_pattern) -> None:
    await store.put_many([make_pattern("a")])
    with pytest.raises(EmbeddingSpaceError, match="dimension 3"):
        await store.put_many([make_pattern("b"), make_pattern("c", (1, 2, 3))])
    with pytest.raises(InvalidInputError, match="patterns"):
        await store.put_many([make_pattern("b"), "not a pattern"])
    assert (await store.stats("shop")).patterns == 1


async def test_mixed_dimensions_in_the_first_batch_are_refused(store, make_pattern) -> None:
    with pytest.raises(EmbeddingSpaceError):
        await store.put_many([make_pattern("a", (1, 2)), make_pattern("b", (1, 2, 3))])
    await store.put_many([make_pattern("b", (1, 2, 3))])


async def test_a_store_holds_one_space(store, make_pattern) -> None:
    assert store.space is None
    await store.bind(SPACE)
    await store.bind(EmbeddingSpace("toy", 2))
    assert store.space == SPACE
    for other in (
        EmbeddingSpace("toy", 3),
        EmbeddingSpace("other", 2),
        replace(SPACE, normalised=True),
    ):
        with pytest.raises(EmbeddingSpaceError):
            await store.bind(other)
        with pytest.raises(EmbeddingSpaceError):
            await store.put_skill(make_skill(space=other))
    with pytest.raises(EmbeddingSpaceError):
        await store.put_many([make_pattern("a", (1, 2, 3))])
    with pytest.raises(EmbeddingSpaceError):
        await store.search("shop", np.ones(3), 1, EVERYTHING)


async def test_a_space_of_another_dimension_does_not_fit_what_is_there(store, make_pattern) -> None:
    await store.put_many([make_pattern("a", (1, 2))])
    with pytest.raises(EmbeddingSpaceError):
        await store.bind(EmbeddingSpace("toy", 3))


async def test_namespaces_never_see_each_other(store, make_pattern) -> None:
    await store.put_many([make_pattern("a"), make_pattern("a", namespace="bar", task="other")])
    await store.put_skill(make_skill())
    (match,) = await store.search("bar", np.ones(2), 5, EVERYTHING)
    assert match.pattern.task == "other"
    assert await store.list_skills("bar") == []
    assert await store.delete("bar", EVERYTHING) == 1
    assert (await store.stats("shop")).patterns == 1
    assert await store.search("nowhere", np.ones(2), 5, EVERYTHING) == []


async def test_delete_removes_for_good_and_says_how_many(store, make_pattern, monkeypatch) -> None:
    monkeypatch.setattr("lorabank_memory.namespace.CAPACITY", 16)
    monkeypatch.setattr(segment, "CAPACITY", 16)
    left = random_patterns(make_pattern, 300)
    await store.put_many(left)
    for where in (*FILTERS[1:6], PatternFilter(rank=8)):
        gone = [pattern for pattern in left if where.matches(pattern)]
        left = [pattern for pattern in left if not where.matches(pattern)]
        assert await store.delete("shop", where) == len(gone)
        found = await store.search("shop", np.ones(8), 1000, EVERYTHING)
        assert as_pairs(found) == by_brute_force(left, np.ones(8), 1000, EVERYTHING)
        assert await store.get("shop", [pattern.id for pattern in gone]) == []
        page = await store.scan("shop", EVERYTHING, None, 1000)
        assert [p.id for p in page] == sorted(p.id for p in left)
    assert await store.delete("shop", EVERYTHING) == len(left)
    assert (await store.stats("shop")).bytes == 0


@pytest.mark.parametrize("limit", [1, 37, 1000])
async def test_scan_pages_through_all_that_pass_in_order(
    store, make_pattern, monkeypatch, limit
) -> None:
    monkeypatch.setattr(store_module, "_SCAN_BLOCK", 16)
    patterns = random_patterns(make_pattern, 150)
    await store.put_many(patterns)
    where, seen, after = PatternFilter(success=True), [], None
    with anyio.fail_after(10):
        while page := await store.scan("shop", where, after, limit):
            assert len(page) <= limit
            seen += [pattern.id for pattern in page]
            after = page[-1].id
    assert seen == sorted(pattern.id for pattern in patterns if where.matches(pattern))


async def test_k_of_nothing_and_wrong_arguments(store, make_pattern) -> None:
    await store.put_many([make_pattern("a")])
    assert await store.search("shop", np.ones(2), 0, EVERYTHING) == []
    assert await store.scan("shop", EVERYTHING, None, 0) == []
    for wrong in (-1, 1.5, True):
        with pytest.raises(InvalidInputError, match="k: got"):
            await store.search("shop", np.ones(2), wrong, EVERYTHING)
    with pytest.raises(InvalidInputError, match="vector"):
        await store.search("shop", np.array([np.nan, 1.0]), 1, EVERYTHING)
    with pytest.raises(InvalidInputError, match="limit"):
        await store.scan("shop", EVERYTHING, None, -1)


async def test_skills_are_listed_by_id_replaced_and_deleted(store) -> None:
    second = make_skill("b", name="new")
    for skill in (make_skill("b"), make_skill("a"), second):
        await store.put_skill(skill)
    first, last = await store.list_skills("shop")
    assert (first.id, last) == ("a", second)
    assert await store.delete_skill("shop", "a") is True
    assert await store.delete_skill("shop", "a") is False
    stats = await store.stats("shop")
    assert (stats.patterns, stats.skills) == (0, 1)
    with pytest.raises(InvalidInputError, match="skill"):
        await store.put_skill("a skill")


async def test_everything_is_refused_after_close(make_pattern) -> None:
    store = MemoryStore()
    await store.put_many([make_pattern("a")])
    await store.aclose()
    await store.aclose()
    calls = [
        lambda: store.bind(SPACE),
        lambda: store.put_many([]),
        lambda: store.get("shop", []),
        lambda: store.search("shop", np.ones(2), 1, EVERYTHING),
        lambda: store.scan("shop", EVERYTHING, None, 0),
        lambda: store.delete("shop", EVERYTHING),
        lambda: store.put_skill(make_skill()),
        lambda: store.list_skills("shop"),
        lambda: store.delete_skill("shop", "a"),
        lambda: store.stats("shop"),
    ]
    for call in calls:
        with pytest.raises(BankClosedError):
            await call()


async def test_a_cancelled_write_writes_nothing(store, make_pattern) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.put_many([make_pattern("a")])
    assert scope.cancelled_caught
    assert (await store.stats("shop")).patterns == 0


async def test_many_writers_at_once_lose_nothing(store, make_pattern) -> None:
    async def write(writer: int) -> None:
        for number in range(25):
            await store.put_many([make_pattern(f"{writer}-{number}", user_key=f"w{writer}")])

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for writer in range(8):
                tasks.start_soon(write, writer)
    assert (await store.stats("shop")).patterns == 200
    assert await store.delete("shop", PatternFilter(user_key="w3")) == 25


async def test_each_open_is_private(make_pattern) -> None:
    async with open_bank("memory://") as one, open_bank("memory://") as two:
        await one.store_pattern(make_pattern("a"))
        assert (await two.stats("shop")).patterns == 0


@pytest.mark.parametrize("url", ["memory://?size=3", "memory:///tmp/x", "memory://host"])
async def test_a_url_with_more_than_the_scheme_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="without path or options"):
        async with open_bank(url):
            pass


def test_ids_in_blocks_are_a_sorted_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "_MOST", 8)
    rng, ids, plain = np.random.default_rng(0), ordering.SortedIds(), list[str]()
    for step in range(3_000):
        if plain and rng.random() < (0.4 if step < 2_000 else 0.9):
            gone = plain.pop(int(rng.integers(len(plain))))
            ids.remove(gone)
        else:
            new = f"{rng.integers(10**9):09d}"
            if new not in plain:
                insort(plain, new)
                ids.add(new)
        after = None if step % 3 == 0 else f"{rng.integers(10**9):09d}"
        assert list(ids.after(after)) == [one for one in plain if after is None or one > after]
    for one in plain:
        assert next(ids.after(one), None) == next((other for other in plain if other > one), None)


async def test_a_long_delete_gives_way_and_is_whole(
    make_pattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace, "_PART", 10)
    store, ticks = MemoryStore(), 0
    await store.put_many([make_pattern(f"p{i:04d}", [1.0, i]) for i in range(200)])

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1
            if ticks == 5:
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        await store.delete("shop", PatternFilter(since=0.0))
    assert ticks == 5, "others had their turns, and one of them cancelled it on its way"
    assert (await store.stats("shop")).patterns == 0, "what has begun is done entirely"


async def test_patterns_that_wait_to_be_put_in_order_are_there(
    make_pattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace, "_WAITING", 3)
    store = MemoryStore()
    for number in range(7):  # settled at three and six, one waits
        await store.put_many([make_pattern(f"p{number}", np.eye(2)[number % 2])])
    one = make_pattern("p6", np.array([0.0, 1.0]))
    await store.put_many([one])
    await store.put_many([make_pattern("p0", np.array([0.0, 1.0]))])  # replaces a settled one
    assert [p.id for p in await store.get("shop", ["p6", "p0", "p9"])] == ["p6", "p0"]
    found = await store.search("shop", np.array([0.0, 1.0], np.float32), 9, EVERYTHING)
    assert [m.pattern.id for m in found if m.score == 1.0] == ["p0", "p1", "p3", "p5", "p6"]
    await store.put_many([make_pattern("p7", np.eye(2)[0])])
    assert await store.delete("shop", EVERYTHING) == 8
    assert await store.get("shop", ["p7"]) == []
    assert await store.scan("shop", EVERYTHING, None, 10) == []


async def test_little_is_put_in_order_or_made_at_once(
    make_pattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one caller does of it between two turns of the loop holds everybody else up."""
    ordered: list[int] = []
    rows_of = segment.Rows.of

    def noting(patterns):
        ordered.append(len(patterns))
        return rows_of(patterns)

    monkeypatch.setattr(segment.Rows, "of", noting)
    store = MemoryStore()
    for number in range(200):
        await store.put_many([make_pattern(f"p{number:03d}")])
    assert ordered
    assert max(ordered) <= 128

    made, at_turns = 0, []
    get = segment.Segment.get

    def counting(self, pattern_id):
        nonlocal made
        made += 1
        return get(self, pattern_id)

    async def note_turns() -> None:
        while True:
            at_turns.append(made)
            await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(segment.Segment, "get", counting)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(note_turns)
        page = await store.scan("shop", EVERYTHING, None, 200)
        tasks.cancel_scope.cancel()
    assert (len(page), made) == (200, 200)
    assert np.diff([*at_turns, made]).max() <= 2 * 32, "a task may come late by one turn"


async def test_many_are_stored_by_and_by_and_all_though_cancelled(store, make_pattern) -> None:
    rng = np.random.default_rng(0)
    many = [make_pattern(f"{number:04}", rng.normal(size=4)) for number in range(1500)]
    seen = []
    async with anyio.create_task_group() as tasks:

        async def put() -> None:
            with anyio.CancelScope() as scope:
                tasks.start_soon(look, scope)
                await store.put_many(many)

        async def look(scope: anyio.CancelScope) -> None:
            while not seen or seen[-1] < len(many):
                seen.append((await store.stats("shop")).patterns)
                if seen[-1]:  # too late to do nothing
                    scope.cancel()

        tasks.start_soon(put)
    assert len(set(seen)) > 5
    assert seen[-1] == 1500


async def test_of_two_first_dimensions_one_is_refused(store, make_pattern) -> None:
    refused = []

    async def put(dim: int) -> None:
        many = [make_pattern(f"{dim} {number}", np.ones(dim)) for number in range(1100)]
        try:
            await store.put_many(many)
        except EmbeddingSpaceError:
            refused.append(dim)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(put, 4)
        tasks.start_soon(put, 8)
    assert len(refused) == 1
    assert (await store.stats("shop")).patterns == 1100
