"""What every store of engines promises."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from tests.promises.waiting import run
from tradingsystem.bundles.engine_files import ENGINE_FILE, SIGNATURE_NAME, TIMINGS_NAME
from tradingsystem.bundles.engine_plan import LAYERS_NAME, RECORD_NAME
from tradingsystem.domain.errors import RequestRefused
from tradingsystem.interfaces import EngineStore


def name(version: int, key: int = 7) -> str:
    """As ``engine_name`` makes them."""
    return f"fused-{version}-int8-{key:016x}"


def files(seed: int = 1, size: int = 300_000) -> dict[str, bytes]:
    """An engine's files: more than one chunk of them, one of them empty."""
    engine = bytes((seed * index) % 251 for index in range(size))
    return {ENGINE_FILE: engine, RECORD_NAME: b"{%d}" % seed, SIGNATURE_NAME: bytes(64), LAYERS_NAME: b"{}", TIMINGS_NAME: b""}


class EngineStorePromises:
    """One suite, two worlds."""

    def store(self) -> AbstractAsyncContextManager[EngineStore]:
        """An empty store."""
        raise NotImplementedError

    def test_what_was_put_is_got(self) -> None:
        """Every file byte for byte, under its name; a store that holds nothing says so."""

        async def main() -> None:
            async with self.store() as store:
                assert await store.names() == ()
                for version in (12, 2):
                    await store.put(name(version), files(version))
                assert await store.names() == (name(12), name(2))
                assert [await store.get(name(version)) for version in (2, 12)] == [files(2), files(12)]
                assert await store.get(name(2, key=8)) is None

        run(main())

    def test_an_engine_is_never_changed(self) -> None:
        """A server may be reading it: the same files again are nothing, others are refused."""

        async def main() -> None:
            async with self.store() as store:
                await store.put(name(2), files(2))
                await store.put(name(2), files(2))
                with pytest.raises(RequestRefused, match="exists"):
                    await store.put(name(2), files(3))
                assert await store.get(name(2)) == files(2)

        run(main())

    def test_what_is_no_engine_is_not_taken(self) -> None:
        """A name or a file that could lead out of a folder, and files without a record."""

        async def main() -> None:
            async with self.store() as store:
                wrong = [("../evil", files()), ("2", files()), (name(2), {**files(), "../evil": b"x"}), (name(2), {ENGINE_FILE: b"x"})]
                for called, contents in wrong:
                    with pytest.raises(RequestRefused, match="invalid"):
                        await store.put(called, contents)
                assert await store.names() == ()
                assert await store.get("../evil") is None

        run(main())

    def test_what_is_removed_is_gone_and_may_be_built_anew(self) -> None:
        """Whole; and unlike a version's number the same key may come back, with other bytes: it is the same engine to whoever asks for it."""

        async def main() -> None:
            async with self.store() as store:
                for version in (2, 3):
                    await store.put(name(version), files(version))
                assert await store.remove(name(2))
                assert await store.names() == (name(3),)
                assert await store.get(name(2)) is None
                assert not await store.remove(name(2))
                assert await store.get(name(3)) == files(3)
                await store.put(name(2), files(5))
                assert await store.get(name(2)) == files(5)

        run(main())
