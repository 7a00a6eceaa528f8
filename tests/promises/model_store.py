"""What every store of model versions promises."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from tests.promises.waiting import run
from tradingsystem.bundles.manifest import GOLDEN_NAME, INT8_NAME, MANIFEST_NAME
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.domain.errors import RequestRefused
from tradingsystem.interfaces import ModelStore


def files(seed: int = 1, size: int = 300_000) -> dict[str, bytes]:
    """A version's files: more than one chunk of them, one of them empty."""
    return {MANIFEST_NAME: b'{"version": %d}' % seed, GOLDEN_NAME: bytes((seed * index) % 251 for index in range(size)), INT8_NAME: b""}


class ModelStorePromises:
    """One suite, two worlds."""

    def store(self) -> AbstractAsyncContextManager[ModelStore]:
        """An empty store."""
        raise NotImplementedError

    def test_what_was_put_is_got(self) -> None:
        """Every file byte for byte, under its number, in any order of numbers; a store that holds nothing says so."""

        async def main() -> None:
            async with self.store() as store:
                assert await store.versions() == ()
                for version in (12, 2):
                    await store.put(version, files(version))
                assert await store.versions() == (2, 12)
                assert [dict(await store.get(version)) for version in (2, 12)] == [files(2), files(12)]

        run(main())

    def test_a_number_is_given_once(self) -> None:
        """The same files again are nothing; other files are refused, and what was there stays."""

        async def main() -> None:
            async with self.store() as store:
                await store.put(2, files(2))
                await store.put(2, files(2))
                with pytest.raises(RequestRefused, match="exists"):
                    await store.put(2, files(3))
                assert dict(await store.get(2)) == files(2)
                assert await store.versions() == (2,)

        run(main())

    def test_what_is_no_version_is_not_taken(self) -> None:
        """A name that could lead out of a folder, and files without a manifest."""

        async def main() -> None:
            async with self.store() as store:
                for wrong in ({**files(), "../evil": b"x"}, {GOLDEN_NAME: b"x"}):
                    with pytest.raises(RequestRefused, match="invalid"):
                        await store.put(2, wrong)
                assert await store.versions() == ()

        run(main())

    def test_what_is_not_there_is_said(self) -> None:
        """By name, and removing it is nothing."""

        async def main() -> None:
            async with self.store() as store:
                await store.put(3, files(3))
                with pytest.raises(ModelRefused) as refused:
                    await store.get(2)
                assert (refused.value.version, refused.value.refusal) == (2, Refusal.VERSION_NOT_FOUND)
                assert not await store.remove(2)

        run(main())

    def test_what_is_removed_is_gone(self) -> None:
        """And the others are as they were."""

        async def main() -> None:
            async with self.store() as store:
                for version in (2, 3):
                    await store.put(version, files(version))
                assert await store.remove(2)
                assert await store.versions() == (3,)
                with pytest.raises(ModelRefused):
                    await store.get(2)
                assert not await store.remove(2)
                assert dict(await store.get(3)) == files(3)

        run(main())
