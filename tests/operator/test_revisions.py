"""Revisions: what is kept is what is applied, a new one is cut by the spec or its version alone, and going back brings back what was."""

from __future__ import annotations

import base64
import dataclasses
import random
from typing import Any

import msgspec
import pytest

from tests.spec.documents import document
from tradingsystem.spec import from_document
from tradingsystem_operator.objects import Owner
from tradingsystem_operator.release import Release
from tradingsystem_operator.revisions import (
    KEPT,
    Decision,
    Revision,
    UnknownVersion,
    UnreadableRevision,
    boot_spec_hash,
    choose_release,
    cut,
    from_config_map,
    render_hash,
    to_config_map,
)

OWNER = Owner(name="momentum", namespace="trading", uid="1-2-3")
NEW = Release(version="1.1.0", build="1.1.0+b", components_image="components:1.1.0")
OLD = Release(version="1.0.0", build="1.0.0+a", components_image="components:1.0.0")


def objects(word: str) -> tuple[dict[str, Any], ...]:
    return ({"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"word": word}},)


def revision(number: int, boot_spec: str = "s", release: Release = OLD, word: str = "one") -> Revision:
    return Revision(number=number, release=release, spec_hash=boot_spec, objects=objects(word))


def test_first_rendering_is_revision_one() -> None:
    """Nothing kept: what was rendered is cut and must be stored."""
    decision = cut((), objects("one"), "s", OLD)
    assert decision == Decision(revision(1), is_new=True, update_available=False)


def test_same_spec_and_version_stay_at_what_is_stored() -> None:
    """Drift repair and a restarted operator apply the stored revision; nothing is cut."""
    assert cut((revision(1),), objects("one"), "s", OLD) == Decision(revision(1), is_new=False, update_available=False)


def test_newer_templates_alone_are_only_told() -> None:
    """An upgraded operator that would render other objects restarts nothing and says that an update is available."""
    decision = cut((revision(1),), objects("two"), "s", OLD)
    assert (decision.revision, decision.is_new, decision.update_available) == (revision(1), False, True)


@pytest.mark.parametrize(("boot_spec", "release"), [("t", OLD), ("s", NEW)])
def test_spec_or_version_cut_a_new_one(boot_spec: str, release: Release) -> None:
    """Either is a reason of its own; numbers only grow."""
    decision = cut((revision(3), revision(4)), objects("two"), boot_spec, release)
    assert decision == Decision(Revision(number=5, release=release, spec_hash=boot_spec, objects=objects("two")), True, False)


def test_going_back_applies_what_was_applied_then() -> None:
    """The version before is named again: its stored objects return byte for byte, under a new number, not today's templates in its name."""
    decision = cut((revision(1, word="then"), revision(2, release=NEW, word="now")), objects("today's templates"), "s", OLD)
    assert decision.revision == revision(3, word="then")
    assert (decision.is_new, decision.update_available) == (True, True)


def test_only_the_last_are_kept() -> None:
    """After a cut five remain, the new one among them."""
    previous = tuple(revision(number, boot_spec=str(number)) for number in range(3, 9))
    decision = cut(previous, objects("two"), "t", OLD)
    assert decision.discard == (3, 4)
    assert len(previous) - len(decision.discard) + 1 == KEPT


def test_empty_version_means_the_one_at_creation() -> None:
    """A system that named no version stays at the release it was made with when the operator is upgraded."""
    assert choose_release("", NEW, ()) == NEW
    assert choose_release("", NEW, (revision(1, release=OLD),)) == OLD


def test_a_kept_release_can_be_named_and_an_unknown_one_is_refused_by_name() -> None:
    """Rolling back names a release of a kept revision; a release nobody knows is an error that lists those that are known."""
    kept = (revision(1, release=OLD), revision(2, release=NEW))
    assert choose_release("1.0.0", NEW, kept) == OLD
    assert choose_release("1.1.0", NEW, kept) == NEW
    with pytest.raises(UnknownVersion, match=r"'2.0.0'.* 1.0.0, 1.1.0"):
        choose_release("2.0.0", NEW, kept)


def test_live_settings_are_not_part_of_what_pods_start_with() -> None:
    """Risk, trading and the pin cut no revision; a symbol limit does, and so nothing restarts when a risk limit is lowered."""
    base = from_document(document({}))
    live = from_document(document({"spec.risk.positionsOpenMax": 2, "spec.trading.state": "Halted", "spec.version": "1.0.0"}))
    boot = from_document(document({"spec.universe.symbolsMax": 100}))
    assert boot_spec_hash(live) == boot_spec_hash(base)
    assert boot_spec_hash(boot) != boot_spec_hash(base)


def test_render_hash_knows_no_order() -> None:
    """The same objects in another order are the same rendering; one changed value is not."""
    many = [{"kind": "ConfigMap", "metadata": {"name": str(number)}} for number in range(9)]
    shuffled = random.Random(1).sample(many, len(many))
    assert render_hash(many) == render_hash(shuffled)
    assert render_hash(many) != render_hash([*many[:-1], {"kind": "ConfigMap", "metadata": {"name": "x"}}])


def test_what_is_stored_comes_back() -> None:
    """A revision survives its ConfigMap, which is immutable, labelled with its number and the same bytes each time."""
    kept = revision(7, word="größer")
    thing = to_config_map(kept, OWNER)
    assert from_config_map(thing) == kept
    assert thing == to_config_map(kept, OWNER)
    assert thing["immutable"] is True
    assert thing["metadata"]["labels"]["tradingsystem.dev/revision"] == "7"


@pytest.mark.parametrize("damage", ["", "not base64!", base64.b64encode(b"not gzip").decode()])
def test_a_damaged_revision_is_refused_by_name(damage: str) -> None:
    """What was altered by hand is never applied; the error says which object to delete."""
    thing = to_config_map(revision(7), OWNER)
    thing["binaryData"] = {"revision.json.gz": damage} if damage else {}
    with pytest.raises(UnreadableRevision, match="momentum-revision-7"):
        from_config_map(thing)


def test_truncated_revision_is_refused() -> None:
    """Half an archive is not a revision."""
    thing = to_config_map(revision(7), OWNER)
    whole = base64.b64decode(thing["binaryData"]["revision.json.gz"])
    thing["binaryData"]["revision.json.gz"] = base64.b64encode(whole[: len(whole) // 2]).decode()
    with pytest.raises(UnreadableRevision):
        from_config_map(thing)


def test_a_release_is_plain_data() -> None:
    """It stands in every revision, so it must survive JSON."""
    assert msgspec.json.decode(msgspec.json.encode(NEW), type=Release) == NEW
    assert not dataclasses.is_dataclass(Release)
