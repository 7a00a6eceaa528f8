"""The names by which the operator's objects are found: paths, labels, owners."""

from __future__ import annotations

from tradingsystem_operator.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    OWNED,
    SECRET,
    Key,
    Owner,
    is_controlled_by,
    key_of,
    kind_of,
    labels_of,
    make,
    selector_of,
    workload_of,
)

OWNER = Owner(name="momentum", namespace="trading", uid="1-2-3")


def test_path_is_the_api_servers() -> None:
    """Core kinds stand under /api/v1, all others under their group; without a namespace the path lists every one of them."""
    assert CONFIG_MAP.path("trading", "a") == "/api/v1/namespaces/trading/configmaps/a"
    assert DEPLOYMENT.path("trading") == "/apis/apps/v1/namespaces/trading/deployments"
    assert DEPLOYMENT.path("") == "/apis/apps/v1/deployments"


def test_an_owned_object_is_found_by_its_system_and_belongs_to_its_owner_alone() -> None:
    """Labels carry the selector by which children are watched and pruned; another resource's uid does not control it."""
    thing = make(CONFIG_MAP, OWNER, "momentum-filter", "filter", data={})
    assert key_of(thing) == Key("ConfigMap", "momentum-filter")
    assert selector_of("momentum").items() <= thing["metadata"]["labels"].items()
    assert workload_of(thing) == "filter"
    assert is_controlled_by(thing, "1-2-3")
    assert not is_controlled_by(thing, "1-2-4")
    assert not is_controlled_by({"metadata": {}}, "1-2-3")


def test_what_belongs_to_the_whole_system_names_no_workload() -> None:
    """An empty workload makes no empty label, which would match other selectors than its absence."""
    assert "app.kubernetes.io/component" not in labels_of("momentum", "")


def test_secrets_are_known_but_never_pruned() -> None:
    """The kind of passwords is found by name, and is not among what is watched, repaired and pruned."""
    assert kind_of({"kind": "Secret"}) is SECRET
    assert SECRET not in OWNED
    assert len({kind.kind for kind in OWNED}) == len(OWNED)
