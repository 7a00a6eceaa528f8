"""Rendered objects as numbered revisions: what is applied is what was kept, not what this operator would render today.

So an operator with newer templates changes nothing by starting: a new revision is cut only when the part of the spec that pods are started with changes,
or its version; newer templates alone are told as an update that is available. Live settings (risk, trading, pinned model) never cut one. Pure: storing,
applying and deleting are the shell's.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tradingsystem.spec import TradingSystem, canonical_json, content_hash, to_document
from tradingsystem.spec.slices import LiveSettings
from tradingsystem_operator.objects import CONFIG_MAP, REVISION_LABEL, Object, Owner, make
from tradingsystem_operator.release import Release

KEPT = 5
_DATA_KEY = "revision.json.gz"


class UnreadableRevision(Exception):
    """A stored revision was altered or torn; it is not applied."""


class UnknownVersion(Exception):
    """``spec.version`` names a release that neither this operator nor any kept revision knows."""


class Revision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rendering that was, or is, applied."""

    number: int
    release: Release
    spec_hash: str
    objects: tuple[Object, ...]

    @property
    def version(self) -> str:
        """The release it runs."""
        return self.release.version

    @property
    def render_hash(self) -> str:
        """The hash of its objects."""
        return render_hash(self.objects)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be applied now. ``is_new``: it must be stored before anything of it is applied; ``discard``: numbers no longer kept."""

    revision: Revision
    is_new: bool
    update_available: bool
    discard: tuple[int, ...] = ()


def render_hash(objects: Iterable[Object]) -> str:
    """The hash of rendered objects, in any order."""
    return content_hash(sorted(canonical_json(thing) for thing in objects))


def boot_spec_hash(system: TradingSystem) -> str:
    """The hash of the part of the spec that pods are started with: everything but the version and what is applied while running."""
    spec = to_document(system)["spec"]
    assert isinstance(spec, dict), "a resource is a mapping of sections"
    left_out = {*LiveSettings.__struct_fields__, "version"}
    return content_hash({name: value for name, value in spec.items() if name not in left_out})


def choose_release(wanted: str, own: Release, previous: tuple[Revision, ...]) -> Release:
    """The release to render: ``wanted`` is ``spec.version``. Empty means the one fixed at creation. Raises ``UnknownVersion`` with what is known."""
    newest_first = sorted(previous, key=lambda revision: -revision.number)
    if not wanted:
        return newest_first[0].release if newest_first else own
    if wanted == own.version:
        return own
    for revision in newest_first:
        if revision.version == wanted:
            return revision.release
    known = ", ".join(sorted({own.version, *(revision.version for revision in previous)}))
    raise UnknownVersion(
        f"spec.version {wanted!r} is not a release this operator knows; it knows {known}: name one of these, or leave it empty"
    )


def cut(previous: tuple[Revision, ...], rendered: tuple[Object, ...], boot_spec: str, release: Release) -> Decision:
    """Whether a new revision is cut, or the newest of ``previous`` stays what is applied.

    ``previous`` holds this owner's revisions only: those of a deleted resource of the same name are another's. A spec and version that were applied before
    are applied again as they were then, whatever today's templates say: that is what going back means.
    """
    newest_first = sorted(previous, key=lambda revision: -revision.number)
    same = [revision for revision in newest_first if (revision.spec_hash, revision.version) == (boot_spec, release.version)]
    if same and same[0] is newest_first[0]:
        return Decision(same[0], is_new=False, update_available=same[0].render_hash != render_hash(rendered))
    number = newest_first[0].number + 1 if newest_first else 1
    objects = same[0].objects if same else rendered
    fresh = Revision(number=number, release=same[0].release if same else release, spec_hash=boot_spec, objects=objects)
    discard = sorted(revision.number for revision in newest_first[KEPT - 1 :])
    return Decision(fresh, is_new=True, update_available=render_hash(objects) != render_hash(rendered), discard=tuple(discard))


def config_map_name(system: str, number: int) -> str:
    """The name of the ConfigMap that keeps a revision."""
    return f"{system}-revision-{number}"


def to_config_map(revision: Revision, owner: Owner) -> Object:
    """The ConfigMap that keeps a revision; immutable, since what was applied does not change afterwards."""
    packed = gzip.compress(msgspec.json.encode(revision, order="sorted"), mtime=0)
    thing = make(
        CONFIG_MAP,
        owner,
        config_map_name(owner.name, revision.number),
        "",
        immutable=True,
        binaryData={_DATA_KEY: base64.b64encode(packed).decode()},
    )
    thing["metadata"]["labels"][REVISION_LABEL] = str(revision.number)
    return thing


def from_config_map(thing: Object) -> Revision:
    """The revision a ConfigMap keeps. Raises ``UnreadableRevision`` naming it."""
    name = thing["metadata"]["name"]
    try:
        packed = base64.b64decode(thing["binaryData"][_DATA_KEY], validate=True)
        return msgspec.json.decode(gzip.decompress(packed), type=Revision)
    except (KeyError, ValueError, EOFError, OSError, msgspec.MsgspecError) as error:
        raise UnreadableRevision(
            f"ConfigMap {name} does not hold a revision ({type(error).__name__}: {error}); delete it to do without"
        ) from error
