"""Which bundle serves and who computes it in process: the models' part of the wiring, shared by the filter, replay and the recipe.

Beside ``wiring`` one of the few doors to the adapters; it starts nothing. Who only chooses a bundle loads neither kernels nor a runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import tradingsystem
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.features.catalogue import schema_hash
from tradingsystem.models.store import Choice, NoBundle, choose
from tradingsystem.spec.inference import Precision
from tradingsystem.spec.slices import FilterSlice

if TYPE_CHECKING:
    from tradingsystem.domain.rows import F32
    from tradingsystem.filter.deciding import Serving
    from tradingsystem.interfaces import Scores

SHIPPED_MODELS = Path(tradingsystem.__file__).parent / "bundles" / "shipped"
PUBLIC_KEY_FILE = "public_key.hex"


def choose_in(folder: Path | None, pinned: int) -> Choice:
    """The bundle of ``folder`` (None: the package's own) that may serve; ``pinned`` 0 is none. Raises ``NoBundle`` or ``InvalidInput``."""
    place = folder or SHIPPED_MODELS
    key_file = place / PUBLIC_KEY_FILE
    try:
        public_key = bytes.fromhex(key_file.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{key_file}: cannot read the key that verifies models (64 hex digits): {error}") from error
    return choose(place, public_key, schema_hash(), pinned or None, simulated_only=public_key == shipped_key())


def shipped_key() -> bytes:
    """The key of the recipe of bundle 1, which everybody can derive."""
    return bytes.fromhex((SHIPPED_MODELS / PUBLIC_KEY_FILE).read_text(encoding="ascii").strip())


def in_process_serving(spec: FilterSlice, folder: Path | None, version: int = 0) -> tuple[Serving, Callable[[F32], Scores]]:
    """The bundle that serves that filter - exactly the given version, else the pinned one, else the newest - with the members that vote, and its scores
    at once, for where nothing waits.

    Raises ``NoBundle`` or ``InvalidInput``.
    """
    from tradingsystem.adapters.onnxruntime import OnnxRuntimeInference
    from tradingsystem.adapters.own_members import voting
    from tradingsystem.filter.deciding import Serving

    choice = choose_in(folder, version or spec.live.models.pinned_version)
    manifest = choice.bundle.manifest
    if version and manifest.version != version:
        raise NoBundle(f"version {version} may not serve: {choice.refused[version]}")
    graph = OnnxRuntimeInference(choice.bundle, int8=spec.inference.precision is Precision.INT8)
    inference = voting(graph, manifest.members, spec.ensemble.members)
    return Serving(inference, manifest), inference.score


def scorer(graph: bytes) -> Callable[[F32], Scores]:
    """A graph that is not a bundle yet, loaded once, for who asks it again and again. Raises ``InvalidBundle``."""
    from tradingsystem.adapters.onnxruntime import open_session, run

    session = open_session(graph)
    return lambda features: run(session, features)


def score_graph(graph: bytes, features: F32) -> Scores:
    """Scores of features F32[n, 50] by a graph that is not a bundle yet. Raises ``InvalidBundle``."""
    from tradingsystem.adapters.onnxruntime import open_session, run

    return run(open_session(graph), features)
