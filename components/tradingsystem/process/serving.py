"""Which bundle serves and who computes it in process: the models' part of the wiring, shared by the filter, replay and the recipe.

Beside ``assembling`` one of the few doors to the adapters; it starts nothing. Who only chooses a bundle loads neither kernels nor a runtime.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import tradingsystem
from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.publishing import STAGING, version_numbers
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.features.catalogue import schema_hash
from tradingsystem.models.store import Choice, NoBundle, Trusted, choose, read
from tradingsystem.process.private_files import read_password
from tradingsystem.spec.inference import Precision, TritonPlacement
from tradingsystem.spec.slices import FilterSlice

if TYPE_CHECKING:
    from tradingsystem.adapters.fallback import FallbackInference
    from tradingsystem.adapters.triton_shared_memory import SharedMemoryInference
    from tradingsystem.domain.rows import F32
    from tradingsystem.filter.deciding import Serving
    from tradingsystem.interfaces import Inference, Scores

SHIPPED_MODELS = Path(tradingsystem.__file__).parent / "bundles" / "shipped"
PUBLIC_KEY_FILE = "public_key.hex"
KEY_BYTES = 32
SHIPPED = (1,)
"""The versions that the package brings: number 1, and never another (docs/decisions/0014-numbers-of-versions.md)."""


def choose_in(folder: Path | None, pinned: int) -> Choice:
    """The bundle of ``folder`` (None: the package's own) that may serve; ``pinned`` 0 is none. Raises ``NoBundle`` or ``InvalidInput``."""
    return choose(folder or SHIPPED_MODELS, trusted_in(folder), schema_hash(), pinned or None)


def bundle_in(folder: Path | None, version: int) -> Bundle:
    """Exactly that version, verified. Raises ``InvalidBundle`` or ``InvalidInput``."""
    return read(folder or SHIPPED_MODELS, version, trusted_in(folder), schema_hash())


def versions_in(folder: Path | None) -> list[int]:
    """The version numbers present, lowest first."""
    return version_numbers(folder or SHIPPED_MODELS)


def prepare_folder(folder: Path, keys_file: Path | None = None) -> None:
    """An empty store gets the package's own bundle as version 1, whole or not at all. ``keys_file`` holds the keys that verify the other versions: it is
    pointed to and not copied, so that an exchange of keys is seen, and may appear later. Raises ``OSError``."""
    folder.mkdir(parents=True, exist_ok=True)
    if not version_numbers(folder):
        staged = folder / f"{STAGING}-shipped"
        shutil.rmtree(staged, ignore_errors=True)
        shutil.copytree(SHIPPED_MODELS / "1", staged)
        staged.rename(folder / "1")
    keys = folder / PUBLIC_KEY_FILE
    if keys_file is not None and not keys.is_symlink():
        keys.symlink_to(keys_file)


def trusted_in(folder: Path | None, *more: bytes) -> Trusted:
    """Who vouches for the versions of a store: always the release, and the keys beside them, one a line, so that a new key and the one before it are trusted
    together; ``more`` are keys that the caller knows. A store without keys of its own holds only what the release signed. Raises ``InvalidInput``."""
    key_file = (folder or SHIPPED_MODELS) / PUBLIC_KEY_FILE
    try:
        found = [bytes.fromhex(line) for line in key_file.read_text(encoding="ascii").split()]
        if any(len(key) != KEY_BYTES for key in found):
            raise ValueError("a key has 64 hex digits")
    except FileNotFoundError:
        found = []
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{key_file}: cannot read the keys that verify models (64 hex digits each, one a line): {error}") from error
    release = shipped_key()
    return Trusted(own=tuple(key for key in (*more, *found) if key != release), simulated=(release,))


def shipped_key() -> bytes:
    """The key of the recipe of bundle 1, which everybody can derive."""
    return bytes.fromhex((SHIPPED_MODELS / PUBLIC_KEY_FILE).read_text(encoding="ascii").strip())


def chosen(spec: FilterSlice, folder: Path | None, version: int) -> Choice:
    """The bundle that serves that filter: exactly the given version, else the pinned one, else the newest. Raises ``NoBundle`` or ``InvalidInput``."""
    choice = choose_in(folder, version or spec.live.models.pinned_version)
    if version and choice.bundle.manifest.version != version:
        raise NoBundle(f"version {version} may not serve: {choice.refused[version]}")
    return choice


def in_process_serving(spec: FilterSlice, folder: Path | None, version: int = 0) -> tuple[Serving, Callable[[F32], Scores]]:
    """The bundle that serves that filter - exactly the given version, else the pinned one, else the newest - with the members that vote, and its scores
    at once, for where nothing waits.

    Raises ``NoBundle`` or ``InvalidInput``.
    """
    from tradingsystem.adapters.onnxruntime import OnnxRuntimeInference
    from tradingsystem.adapters.own_members import voting
    from tradingsystem.filter.deciding import Serving

    choice = chosen(spec, folder, version)
    manifest = choice.bundle.manifest
    graph = OnnxRuntimeInference(choice.bundle, int8=spec.inference.precision is Precision.INT8)
    voted = voting(graph, manifest.members, spec.ensemble.members)
    if voted is None:
        return Serving(graph, manifest), graph.score
    return Serving(voted, manifest), lambda features: voted.voted(graph.score(features), features)


class TritonServing:
    """The same bundles asked of a Triton server, with this process behind it: through shared memory where ``spec`` puts both into one pod. One connection for
    all versions; ``close`` it."""

    def __init__(self, spec: FilterSlice, folder: Path | None, address: str, key_file: Path | None) -> None:
        from tradingsystem.adapters.triton_calls import TritonSettings, connected

        self._spec = spec
        self._folder = folder
        self._settings = TritonSettings(address, lambda: read_password(key_file) if key_file else "")
        self._client = connected(address)
        self._opened: dict[int, FallbackInference] = {}
        self._shared: dict[int, SharedMemoryInference] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._sidecar = spec.inference.placement is TritonPlacement.SIDECAR
        if self._sidecar:
            from tradingsystem.adapters.triton_shared_memory import sweep

            sweep()

    def serving(self, version: int = 0) -> Serving:
        """As ``in_process_serving``. Raises ``NoBundle`` or ``InvalidInput``."""
        from tradingsystem.adapters.fallback import PRIMARY_SHARE, FallbackInference
        from tradingsystem.adapters.onnxruntime import OnnxRuntimeInference
        from tradingsystem.adapters.own_members import voting
        from tradingsystem.filter.deciding import Serving

        choice, spec = chosen(self._spec, self._folder, version), self._spec.inference
        manifest = choice.bundle.manifest
        own = OnnxRuntimeInference(choice.bundle, int8=spec.precision is Precision.INT8)
        deadline_seconds = spec.deadline_milliseconds / 1e3
        inference = FallbackInference(self._asked(manifest.version, PRIMARY_SHARE * deadline_seconds), own, deadline_seconds)
        self._opened[manifest.version] = inference
        return Serving(voting(inference, manifest.members, self._spec.ensemble.members) or inference, manifest)

    def _asked(self, version: int, deadline_seconds: float) -> Inference:
        from tradingsystem.adapters.triton import TritonInference
        from tradingsystem.adapters.triton_shared_memory import SharedMemoryInference

        if not self._sidecar:
            return TritonInference(self._client, version, deadline_seconds)
        shared = SharedMemoryInference(self._client, self._settings, version, deadline_seconds)
        self._shared[version] = shared
        return shared

    def unload(self, version: int) -> None:
        """Ask that version no more: its probes end and its shared memory is given back, beside whoever called."""
        task = asyncio.get_running_loop().create_task(self._close(version), name=f"unload version {version}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, version: int) -> None:
        if (inference := self._opened.pop(version, None)) is not None:
            await inference.close()
        if (shared := self._shared.pop(version, None)) is not None:
            await shared.close()

    async def close(self) -> None:
        """Ask no more."""
        await asyncio.gather(*self._closing, *(self._close(version) for version in tuple(self._opened)))
        await self._client.close()


def scorer(graph: bytes) -> Callable[[F32], Scores]:
    """A graph that is not a bundle yet, loaded once, for who asks it again and again. Raises ``InvalidBundle``."""
    from tradingsystem.adapters.onnxruntime import open_session, run

    session = open_session(graph)
    return lambda features: run(session, features)


def score_graph(graph: bytes, features: F32) -> Scores:
    """Scores of features F32[n, 50] by a graph that is not a bundle yet. Raises ``InvalidBundle``."""
    return scorer(graph)(features)


def check_answers(bundle: Bundle) -> None:
    """Run the INT8 graph on the bundle's golden rows. Raises ``InvalidBundle`` when it does not run, or answers otherwise than was signed."""
    from tradingsystem.adapters.onnxruntime import OnnxRuntimeInference

    OnnxRuntimeInference(bundle)
