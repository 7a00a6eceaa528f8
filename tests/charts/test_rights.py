"""What the installed operator may do, asked of the API server's own authorizer: everything it needs, and of all else on that server nothing.

What is needed is derived from the kinds the operator owns, so that a kind added there without a right, or a right left behind here, fails. The answers are
those of the real authorizer, with the roles a real installation made. What a role that only a controller fills would add (aggregation) is not seen here.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.charts import helm
from tests.cluster.api import Api
from tests.cluster.waiting import until
from tradingsystem_operator import leader, objects, watching

pytestmark = [pytest.mark.charts, pytest.mark.cluster, pytest.mark.timeout(300)]

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
REPAIRING = {"get", "list", "watch", "create", "patch", "delete"}
LOOKING = {"get", "list", "watch"}
RBAC = "/apis/rbac.authorization.k8s.io/v1"
Right = tuple[str, str, str]  # group, resource with its part, verb
_numbers = itertools.count(1)

# Rights on what is no resource of its own, by which one account becomes another or gives itself more.
BEYOND: set[Right] = {
    *(("", name, "impersonate") for name in ("users", "groups", "serviceaccounts")),
    *(("rbac.authorization.k8s.io", name, verb) for name in ("roles", "clusterroles") for verb in ("bind", "escalate")),
    ("certificates.k8s.io", "signers", "approve"),
}


def group_of(kind: objects.Kind) -> str:
    return kind.api_version.rpartition("/")[0]


def needed() -> set[Right]:
    """Every right the operator's code uses inside a watched namespace."""
    found = {(group_of(kind), kind.plural, verb) for kind in objects.OWNED for verb in REPAIRING}
    found |= {(group_of(objects.SECRET), objects.SECRET.plural, verb) for verb in ("get", "create", "patch")}
    own, name = group_of(objects.TRADING_SYSTEM), objects.TRADING_SYSTEM.plural
    found |= {(own, name, verb) for verb in (*LOOKING, "patch")}
    found |= {(own, f"{name}/status", "patch"), (own, f"{name}/finalizers", "update"), ("events.k8s.io", "events", "create")}
    found |= {(group_of(kind), kind.plural, verb) for kind in watching.WATCHED for verb in LOOKING}
    return found | {(group_of(watching.POD), watching.POD.plural, "delete")}


@pytest.fixture(scope="module")
def everything(api: Api, installed: str) -> set[Right]:
    """Every right there is on this server: each resource and part of one, with each verb."""
    groups = [(each["name"], f"/apis/{each['preferredVersion']['groupVersion']}") for each in api.ask("GET", "/apis")[1]["groups"]]
    names = [(group, each["name"]) for group, path in [("", "/api/v1"), *groups] for each in api.ask("GET", path)[1]["resources"]]
    names.append((group_of(objects.TRADING_SYSTEM), f"{objects.TRADING_SYSTEM.plural}/finalizers"))  # a part that is a right alone
    return {(group, name, verb) for (group, name), verb in itertools.product(names, VERBS)} | BEYOND


@pytest.fixture(scope="module")
def installed(kubeconfig: Path, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A release that watches all namespaces, and one in a namespace of its own that watches two; returns the account of the first."""
    home = tmp_path_factory.mktemp("helm")
    releases = {
        "everywhere": {},
        "narrow": {"watch": {"namespaces": ["here", "there"]}, "crds": {"create": False}, "rbac": {"aggregate": False}},
    }
    for namespace in ("here", "there", "elsewhere"):
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        assert api.ask("POST", "/api/v1/namespaces", made)[0] == 201
    for name, values in releases.items():
        words = ("install", name, helm.CHART, "--namespace", name, "--create-namespace", "--take-ownership", "--values", "-")
        ran = helm.run(*words, home=home, kubeconfig=kubeconfig, given=yaml.safe_dump(values))
        assert ran.returncode == 0, ran.stderr
    until_known(api)
    yield account("everywhere")
    for name in releases:
        assert helm.run("uninstall", name, "--namespace", name, home=home, kubeconfig=kubeconfig).returncode == 0


def account(release: str) -> str:
    return f"system:serviceaccount:{release}:{release}-tradingsystem-operator"


def allowed(api: Api, user: str, right: Right, namespace: str, name: str = "") -> bool:
    """What the authorizer says. No group is given, so nothing is allowed that every account may do anyway."""
    group, resource, verb = right
    resource, _slash, part = resource.partition("/")
    asked = {"group": group, "resource": resource, "subresource": part, "verb": verb, "namespace": namespace, "name": name}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user, "resourceAttributes": asked}}
    status, answer = api.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert status == 201, answer
    return bool(answer["status"]["allowed"])


def test_it_may_do_what_it_needs_and_nothing_else(api: Api, installed: str, everything: set[Right]) -> None:
    """Of every verb on every resource of the server, exactly those that the code uses."""
    assert needed() <= everything
    granted = {right for right in everything if allowed(api, installed, right, "here")}
    assert granted - needed() == set(), "granted and not needed: take it out of templates/_rights.tpl"
    assert needed() - granted == set(), "needed and not granted: add it to templates/_rights.tpl"
    assert len(everything) > 500


def test_named_namespaces_are_the_only_ones(api: Api, installed: str, everything: set[Right]) -> None:
    """The same rights in the namespaces that were named; none in another, none in the cluster as a whole."""
    for namespace in ("here", "there"):
        assert {right for right in everything if allowed(api, account("narrow"), right, namespace)} == needed()
    for namespace in ("elsewhere", "default", "kube-system", ""):
        assert not any(allowed(api, account("narrow"), right, namespace) for right in needed())


def test_the_lease_is_its_own_alone(api: Api, installed: str) -> None:
    """It may hold its own Lease in its own namespace: no other, nowhere else, and it may not take one away."""
    own, group, leases = "everywhere-tradingsystem-operator", group_of(leader.LEASE), leader.LEASE.plural
    for verb in ("get", "update"):
        assert allowed(api, installed, (group, leases, verb), "everywhere", own)
        assert not allowed(api, installed, (group, leases, verb), "everywhere", "another")
        assert not allowed(api, installed, (group, leases, verb), "here", own)
    assert allowed(api, installed, (group, leases, "create"), "everywhere")
    for verb in ("patch", "delete", "list", "watch"):
        assert not allowed(api, installed, (group, leases, verb), "everywhere", own)


def test_people_get_rights_through_the_clusters_own_roles(api: Api, installed: str) -> None:
    """Who may view sees systems and changes none; who may edit changes them and cannot write their status."""
    rights = {}
    for name in ("viewer", "editor"):
        role = api.ask("GET", f"{RBAC}/clusterroles/everywhere-tradingsystem-operator-{name}")[1]
        assert role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
        assert ("rbac.authorization.k8s.io/aggregate-to-view" in role["metadata"]["labels"]) == (name == "viewer")
        with bound(api, name, role["metadata"]["name"]):
            resources = ("tradingsystems", "tradingsystems/status", "secrets", "pods")
            rights[name] = {
                (each, verb) for each in resources for verb in VERBS if allowed(api, name, (group_of_systems(each), each, verb), "here")
            }
    assert rights["viewer"] == {(each, verb) for each in ("tradingsystems", "tradingsystems/status") for verb in LOOKING}
    assert rights["editor"] == {("tradingsystems", verb) for verb in set(VERBS) - LOOKING}


def group_of_systems(resource: str) -> str:
    return group_of(objects.TRADING_SYSTEM) if resource.startswith("tradingsystems") else ""


@contextlib.contextmanager
def bound(api: Api, user: str, role: str) -> Iterator[None]:
    """The role, given to a person in one namespace for a while."""
    path = f"{RBAC}/namespaces/here/rolebindings"
    made = binding("RoleBinding", user, "ClusterRole", role)
    assert api.ask("POST", path, made)[0] == 201
    try:
        until_known(api)
        yield
    finally:
        assert api.ask("DELETE", f"{path}/{user}")[0] == 200


def binding(kind: str, user: str, role_kind: str, role: str) -> helm.Object:
    """One that gives the role to the user and has the user's name."""
    group = "rbac.authorization.k8s.io"
    named = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": user}}
    subjects = [{"apiGroup": group, "kind": "User", "name": user}]
    return named | {"roleRef": {"apiGroup": group, "kind": role_kind, "name": role}, "subjects": subjects}


def until_known(api: Api) -> None:
    """Wait until the authorizer knows every role and binding made so far.

    It reads what it watches, a moment after the server has stored it, each kind in the order of its making: what is made last, of every kind, is known last.
    """
    name = f"last-{next(_numbers)}"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    for kind, where in (("Role", f"{RBAC}/namespaces/here"), ("ClusterRole", RBAC)):
        user = f"{name}-{kind.lower()}"
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "rules": rules}
        made = (
            (f"{where}/{kind.lower()}s", name, role),
            (f"{where}/{kind.lower()}bindings", user, binding(f"{kind}Binding", user, kind, name)),
        )
        for path, _name, thing in made:
            assert api.ask("POST", path, thing)[0] == 201
        until(f"the authorizer knows {user}", lambda user=user: allowed(api, user, ("", "pods", "get"), "here"))
        for path, each, _thing in made:
            assert api.ask("DELETE", f"{path}/{each}")[0] == 200
