"""A durable store, the memory backend with a journal, and wrong ones: what only reopening shows."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from lorabank.codec import decode, encode
from lorabank.protocols import Capability
from lorabank.types.arrays import FloatArray
from lorabank.types.pattern import Match, Pattern
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace
from lorabank_memory import MemoryStore

MANY = 1_000_000


class JournalStore(MemoryStore):
    """Writes down what it did, a line each, and does it again when it is opened."""

    def __init__(self, journal: Path) -> None:
        super().__init__()
        self.journal = journal
        self.read: list[str] = []

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.DURABLE}

    async def replay(self) -> None:
        self.journal.touch()
        for line in self.journal.read_text().splitlines():
            kind, *words = (base64.b64decode(word) for word in line.split(","))
            if kind == b"space":
                name, dim, normalised = (word.decode() for word in words)
                await super().bind(EmbeddingSpace(name, int(dim), normalised=normalised == "True"))
            elif kind == b"put":
                patterns = [decode(Pattern, "pattern", word) for word in words]
                self.read += [pattern.id for pattern in patterns]
                await super().put_many(patterns)
            elif kind == b"skill":
                await super().put_skill(decode(Skill, "skill", words[0]))
            elif kind == b"gone":
                namespace, *ids = (word.decode() for word in words)
                self._namespaces[namespace].remove(ids)
            elif kind == b"refuse":
                namespace, user_key, until = (word.decode() for word in words)
                await super().refuse(namespace, user_key, float(until))
            else:
                await super().delete_skill(words[0].decode(), words[1].decode())

    def write(self, kind: str, *words: bytes | str) -> None:
        found = [word.encode() if isinstance(word, str) else word for word in (kind, *words)]
        line = ",".join(base64.b64encode(word).decode() for word in found)
        with self.journal.open("a") as file:
            file.write(line + "\n")

    async def bind(self, space: EmbeddingSpace) -> None:
        await super().bind(space)
        self.write("space", space.name, str(space.dim), str(space.normalised))

    async def put_many(self, patterns: list[Pattern]) -> None:  # type: ignore[override]
        await super().put_many(patterns)
        self.write("put", *(encode(pattern, "pattern") for pattern in patterns))

    async def put_skill(self, skill: Skill) -> None:
        await super().put_skill(skill)
        self.write("skill", encode(skill, "skill"))

    async def delete(self, namespace: str, where: PatternFilter) -> int:
        gone = [pattern.id for pattern in await self.scan(namespace, where, None, MANY)]
        count = await super().delete(namespace, where)
        if gone:
            self.write("gone", namespace, *gone)
        return count

    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        await super().refuse(namespace, user_key, until)
        self.write("refuse", namespace, user_key, repr(until))

    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        found = await super().delete_skill(namespace, skill_id)
        self.write("no skill", namespace, skill_id)
        return found


class WritesWhenClosed(JournalStore):
    """What was acknowledged goes with a killed process."""

    def __init__(self, journal: Path) -> None:
        super().__init__(journal)
        self.waiting: list[tuple[str, tuple[bytes | str, ...]]] = []

    def write(self, kind: str, *words: bytes | str) -> None:
        self.waiting.append((kind, words))

    async def aclose(self) -> None:
        for kind, words in self.waiting:
            JournalStore.write(self, kind, *words)
        self.waiting.clear()
        await super().aclose()


class DeletionNotWritten(JournalStore):
    async def delete(self, namespace: str, where: PatternFilter) -> int:
        return await MemoryStore.delete(self, namespace, where)


class RefusalNotWritten(JournalStore):
    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        await MemoryStore.refuse(self, namespace, user_key, until)


class SkillDeletionNotWritten(JournalStore):
    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        return await MemoryStore.delete_skill(self, namespace, skill_id)


class TiesAsInTheFile(JournalStore):
    """Sorted as they come; what comes from the file comes in another order."""

    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter = EVERYTHING
    ) -> list[Match]:
        found = await super().search(namespace, vector, MANY if k > 0 else k, where)
        place = {pattern_id: number for number, pattern_id in enumerate(self.read)}
        found.sort(key=lambda match: (-match.score, place.get(match.pattern.id, 0)))
        return found[:k]


def opener(kind: type[JournalStore]) -> Callable[[Path], AbstractAsyncContextManager[JournalStore]]:
    @asynccontextmanager
    async def opened(directory: Path) -> AsyncIterator[JournalStore]:
        store = kind(directory / "journal")
        try:
            await store.replay()
            yield store
        finally:
            await store.aclose()

    return opened


CAUGHT_BY: dict[type[JournalStore], str] = {
    WritesWhenClosed: "killed-writer",
    DeletionNotWritten: "delete-survives-reopen",
    RefusalNotWritten: "refuse-survives-reopen",
    SkillDeletionNotWritten: "skill-deletion-survives-reopen",
    TiesAsInTheFile: "reopen-keeps-answers",
}
# By name, as another process finds them.
OPENERS = {f"open_{kind.__name__}": opener(kind) for kind in (JournalStore, *CAUGHT_BY)}
globals().update(OPENERS)
