"""What is known of the cluster between two words of it: the newest stays, the deleted stays gone, whichever of two words comes first."""

from __future__ import annotations

from tests.operator.systems import OWNER
from tradingsystem_operator.objects import CONFIG_MAP, Key, Object, make
from tradingsystem_operator.queue import SystemKey
from tradingsystem_operator.watching import Store

SYSTEM = SystemKey(OWNER.namespace, OWNER.name)
KEY = Key("ConfigMap", "momentum-a")


def thing(version: int, uid: str = "u1") -> Object:
    made = make(CONFIG_MAP, OWNER, "momentum-a", "", data={"version": str(version)})
    made["metadata"] |= {"resourceVersion": str(version), "uid": uid}
    return made


def known(store: Store) -> str | None:
    found = store.of(SYSTEM).get(KEY)
    return None if found is None else str(found["data"]["version"])


def test_a_watch_that_lags_does_not_undo_the_answer_to_a_write() -> None:
    """Else a round would see its own work undone and do it again."""
    store = Store()
    store.put(thing(9))
    assert store.put(thing(8)) == SYSTEM
    assert known(store) == "9"
    store.put(thing(10))
    assert known(store) == "10"


def test_the_answer_to_a_write_does_not_bring_back_what_was_deleted_meanwhile() -> None:
    """The word of a deletion can overtake the answer to the write before it; an object that is thought to be there would never be repaired."""
    store = Store()
    store.put(thing(1))
    store.drop(thing(3))
    store.put(thing(2))
    assert known(store) is None


def test_an_object_made_anew_counts() -> None:
    """The same name, another uid."""
    store = Store()
    store.put(thing(1))
    store.drop(thing(2))
    store.put(thing(3, uid="u2"))
    assert known(store) == "3"


def test_objects_without_a_system_are_nobody_s() -> None:
    """A label that somebody removed does not lead anywhere."""
    store, made = Store(), thing(1)
    made["metadata"]["labels"] = None
    assert store.put(made) is None
    assert store.of(SYSTEM) == {}
