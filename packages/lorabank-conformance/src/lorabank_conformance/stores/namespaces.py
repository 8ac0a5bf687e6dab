"""Laws of namespaces: tenants never see each other."""

from __future__ import annotations

from lorabank.protocols import Capability, PatternStore
from lorabank.types.query import EVERYTHING
from lorabank_conformance.compare import assert_same
from lorabank_conformance.laws import law
from lorabank_conformance.suite import Suite


class NamespaceLaws(Suite):
    """Namespaces."""

    @law()
    async def test_namespaces_isolated(self, store: PatternStore) -> None:
        """Protects tenants: the same id in two namespaces is two patterns, each seen by its own."""
        make = self.make
        ours = [make.pattern(i, namespace="ours", task="ours") for i in "ab"]
        theirs = [make.pattern(i, namespace="theirs", task="theirs") for i in "bc"]
        await store.put_many([*ours, *theirs])
        for name, patterns in (("ours", ours), ("theirs", theirs), ("empty", [])):
            assert_same(await store.get(name, ["a", "b", "c"]), patterns)
            assert_same(await store.scan(name, EVERYTHING, None, 10), patterns)
            matches = await store.search(name, make.axis(0), 10, EVERYTHING)
            assert_same([match.pattern for match in matches], patterns)
            assert (await store.stats(name)).patterns == len(patterns)

    @law(Capability.DELETE)
    async def test_delete_within_namespace(self, store: PatternStore) -> None:
        """Protects against the `delete_all` that wiped every tenant."""
        make = self.make
        theirs = [make.pattern(i, namespace="theirs") for i in "ab"]
        await store.put_many([make.pattern(i, namespace="ours") for i in "ab"] + theirs)
        assert await store.delete("ours", EVERYTHING) == 2
        assert await store.delete("empty", EVERYTHING) == 0
        assert await store.scan("ours", EVERYTHING, None, 10) == []
        assert_same(await store.scan("theirs", EVERYTHING, None, 10), theirs)
        matches = await store.search("theirs", make.axis(0), 10, EVERYTHING)
        assert_same([match.pattern for match in matches], theirs)

    @law()
    async def test_namespace_starvation(self, store: PatternStore) -> None:
        """Protects small tenants: better matches next door do not fill their answer."""
        make = self.make
        crowd = [make.pattern(f"c{i:04}", namespace="large") for i in range(1000)]
        own = [make.pattern(f"o{i}", make.axis(0, -1.0), namespace="small") for i in range(5)]
        await store.put_many([*crowd, *own])
        matches = await store.search("small", make.axis(0), 5, EVERYTHING)
        assert_same([match.pattern for match in matches], own)
