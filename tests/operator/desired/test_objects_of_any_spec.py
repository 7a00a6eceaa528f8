"""What holds of the rendered objects whatever a person wrote: hypothesis makes the specs from the resource's own types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.operator.systems import RELEASE
from tests.spec.documents import document, problems_of, values_of
from tradingsystem.messages.permissions import SERVICES, permissions
from tradingsystem.process.assignment import parse
from tradingsystem.spec import Mode, TradingSystem, from_document
from tradingsystem.spec.components import Component, Storage
from tradingsystem.spec.inference import Inference
from tradingsystem.spec.secrets import signing_secret
from tradingsystem_operator.desired import build_all, disruption_budgets, plan_of
from tradingsystem_operator.desired.arguments import LOADS_MODELS
from tradingsystem_operator.desired.engine_build import builds_engines, engine_job, engine_workload
from tradingsystem_operator.objects import COMPONENT_LABEL, ENGINE, OWNED, Owner, is_controlled_by, key_of, selector_of

NAMES = st.from_regex("[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
DNS_LABEL = re.compile("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
REDIS = {"type": "Redis", "address": "redis.data:6380", "secretRef": {"name": "redis"}}
SOURCES = [
    {"name": "polygon", "type": "Polygon", "secretRef": {"name": "shared.keys"}},
    {"name": "own", "type": "Custom", "plugin": "mine", "secretRef": {"name": "shared.keys"}},
]
Thing = dict[str, Any]


COMPONENT, STORAGE = values_of(Component), values_of(Storage)
TRITON = [
    {"runtime": "Triton", "placement": placement, "gpu": {"count": count}}
    for placement in ("Sidecar", "SameNode", "AnyNode")
    for count in (0, 1)
]
INFERENCE = st.one_of(values_of(Inference), st.sampled_from(TRITON))


SERVERS = {"type": "External", "urls": ["tls://nats-0.messages:4222", "tls://nats-1.messages:4223"], "secretRef": {"name": "nats-users"}}


@st.composite
def systems(draw: st.DrawFn) -> TradingSystem:
    """Resources in which everything that pods are made of varies, as far as the rules between fields allow."""
    name = draw(NAMES)
    changes: dict[str, Any] = {
        "metadata.name": name,
        "spec.mode": draw(st.sampled_from(["Simulation", "Paper"])),
        "spec.execution.broker.secretRef.name": "alpaca",
        "spec.components": {draw(st.sampled_from((*SERVICES, "triton"))): draw(COMPONENT)},
        "spec.storage": draw(STORAGE),
        "spec.inference": draw(INFERENCE),
        "spec.telemetry.otlpEndpoint": draw(st.sampled_from(["", "http://collector:4318", "https://collector.example.org"])),
        "spec.cache": draw(st.sampled_from([{}, REDIS])),
        "spec.sources": SOURCES,
        "spec.messaging": draw(st.sampled_from([{}, SERVERS, SERVERS | {"caSecretRef": {"name": "nats-authorities"}, "replicas": 3}])),
        "spec.simulation": draw(st.sampled_from([{}, {"source": "Recorded", "dataClaimName": "days", "data": "2013/lean"}])),
    }
    made = document(changes)
    assume(not problems_of(lambda: from_document(made)))
    return from_document(made)


def in_filter_s_pod(system: TradingSystem) -> bool:
    """Whether Triton is a container of the filter's pod."""
    return system.spec.inference.runtime.value == "Triton" and system.spec.inference.placement.value == "Sidecar"


def owner_of(system: TradingSystem) -> Owner:
    return Owner(name=system.metadata.name, namespace="trading", uid="u-7")


def all_of(system: TradingSystem, *, guarded: bool = False) -> tuple[Thing, ...]:
    owner = owner_of(system)
    budgets = disruption_budgets(plan_of(system, RELEASE), owner, in_session_with_positions=guarded)
    return (*build_all(system, RELEASE, owner), *budgets, *jobs_of(system))


def jobs_of(system: TradingSystem) -> tuple[Thing, ...]:
    """A Job that builds an engine, where TensorRT should run."""
    made = plan_of(system, RELEASE)
    if not builds_engines(made, RELEASE):
        return ()
    return (engine_job(1_000_000_000, made, RELEASE, owner_of(system), system.spec.inference.gpu, suspended=True),)


def templates(things: tuple[Thing, ...]) -> Iterator[tuple[Thing, Thing]]:
    """Each workload with its pod template."""
    for thing in things:
        if thing["kind"] == "CronJob":
            yield thing, thing["spec"]["jobTemplate"]["spec"]["template"]
        elif thing["kind"] in {"StatefulSet", "Deployment", "Job"}:
            yield thing, thing["spec"]["template"]


@settings(max_examples=20)
@given(systems())
def test_every_object_is_owned_found_and_named_as_the_api_server_allows(system: TradingSystem) -> None:
    """Whatever is made can be watched, pruned and deleted with its owner; names are labels, and a CronJob's leaves room for its jobs'."""
    things = all_of(system)
    assert len({key_of(thing) for thing in things}) == len(things)
    for thing in things:
        name, labels = thing["metadata"]["name"], thing["metadata"]["labels"]
        assert DNS_LABEL.fullmatch(name), name
        assert len(name) <= (52 if thing["kind"] == "CronJob" else 63)
        assert is_controlled_by(thing, "u-7")
        assert selector_of(system.metadata.name).items() <= labels.items()
        assert all(len(value) <= 63 for value in labels.values())
        assert thing["kind"] in {kind.kind for kind in OWNED}
        assert thing["metadata"]["namespace"] == "trading"


@settings(max_examples=20)
@given(systems())
def test_rendering_is_a_function_and_plain_json(system: TradingSystem) -> None:
    """The same resource gives the same bytes, so an idle reconcile writes nothing; nothing in it is null or empty, which the API server would drop."""
    things = all_of(system)
    assert json.dumps(things) == json.dumps(all_of(system))
    assert not list(_nothings(things, ""))


def _nothings(value: Any, path: str) -> Iterator[str]:
    if value is None or (value == {} and not path.endswith(("emptyDir", "namespaceSelector"))) or value == [] or value == ():
        yield path
    for name, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ():
        yield from _nothings(each, f"{path}.{name}")


@settings(max_examples=20)
@given(systems(), st.sampled_from(["Active", "Reducing", "Halted"]), st.integers(1, 5))
def test_a_live_edit_changes_no_object_that_a_revision_keeps(system: TradingSystem, wish: str, positions: int) -> None:
    """Limits, the wish and the pin travel through the journal: no pod restarts for them, and no ConfigMap holds an old one."""
    name = system.metadata.name
    before = build_all(from_document(document({"metadata.name": name})), RELEASE, owner_of(system))
    edited = document({"metadata.name": name, "spec.trading.state": wish, "spec.risk.positionsOpenMax": positions})
    assert build_all(from_document(edited), RELEASE, owner_of(system)) == before
    assert all(
        '"state":"Halted"' in thing["data"]["slice.json"] for thing in before if "live" in thing.get("data", {}).get("slice.json", "")
    )


@settings(max_examples=20)
@given(systems())
def test_every_pod_is_restricted(system: TradingSystem) -> None:
    """The restricted Pod Security level, a root nobody writes to, and no token of the API server."""
    for _, pod in templates(all_of(system)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert all(volume.keys() & {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim"} for volume in spec["volumes"])
        for one in spec["containers"]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert one["resources"]["requests"].keys() == {"cpu", "memory"}


@settings(max_examples=20)
@given(systems())
def test_each_pod_mounts_its_own_password_and_keys_and_no_other(system: TradingSystem) -> None:
    """One key of the credentials each, as a file for the pod's group alone; secrets never stand in the environment. The key to what Triton holds is mounted
    by Triton and by models, who loads into it, and where both share memory by the filter, who announces it."""
    users = {row.user for row in permissions(system.metadata.name)}
    made = plan_of(system, RELEASE)
    wanted = {workload.name: workload for workload in made.workloads}
    wanted |= {ENGINE: engine_workload(made)} if builds_engines(made, RELEASE) else {}
    for thing, pod in templates(all_of(system)):
        workload = wanted[thing["metadata"]["labels"][COMPONENT_LABEL]]
        mounted = [volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume]
        assert all(secret["defaultMode"] == 0o440 for secret in mounted)
        messaging, triton = system.spec.messaging, f"{system.metadata.name}-nats"
        credentials = messaging.secret_ref.name if messaging.external else triton
        if messaging.ca_secret_ref.name:
            authorities = [secret for secret in mounted if secret["secretName"] == messaging.ca_secret_ref.name]
            assert [item["key"] for secret in authorities for item in secret["items"]] == (["ca.crt"] if workload.name != "triton" else [])
            mounted = [secret for secret in mounted if secret["secretName"] != messaging.ca_secret_ref.name]
        ours = {credentials, triton}
        own = {item["key"] for secret in mounted if secret["secretName"] in ours for item in secret["items"]}
        secrets = {secret["secretName"]: secret for secret in mounted if secret["secretName"] not in ours}
        with_key = "triton" in wanted and (workload.name in {"triton", "models"} or (workload.name == "filter" and in_filter_s_pod(system)))
        assert own == ({workload.service} & users) | ({"triton-key"} if with_key else set())
        assert workload.service in users or workload.name in {"nats", "triton"}
        if workload.name == ENGINE and system.spec.mode is not Mode.SIMULATION:
            signing = [secret for secret in mounted if secret["secretName"] == signing_secret(system.metadata.name)]
            assert [(secret["items"][0]["key"], secret["optional"]) for secret in signing] == [("privateKey", True), ("publicKey", True)]
            del secrets[signing_secret(system.metadata.name)]
        if workload.service in LOADS_MODELS and system.spec.mode is not Mode.SIMULATION:
            public = secrets.pop(signing_secret(system.metadata.name))
            assert ([item["key"] for item in public["items"]], public["optional"]) == (["publicKey"], True)
        assert {name: {item["key"] for item in secret["items"]} for name, secret in secrets.items()} == {
            need.name: {key.name for each in workload.secrets if each.name == need.name for key in each.keys} for need in workload.secrets
        }
        assert "secret" not in json.dumps([one.get("env") for one in pod["spec"]["containers"]])


@settings(max_examples=20)
@given(systems())
def test_what_is_mounted_exists_and_what_is_pointed_at_is_selected(system: TradingSystem) -> None:
    """Each mount has its volume, each path is mounted once, each ConfigMap of ours is rendered, each selector finds its own pods and nobody else's."""
    things = all_of(system)
    maps = {thing["metadata"]["name"] for thing in things if thing["kind"] == "ConfigMap"}
    pods = {thing["metadata"]["labels"][COMPONENT_LABEL]: pod["metadata"]["labels"] for thing, pod in templates(things)}
    for thing, pod in templates(things):
        claims = {claim["metadata"]["name"] for claim in thing["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        mounts = [mount for one in pod["spec"]["containers"] for mount in one["volumeMounts"]]
        assert not claims & volumes
        assert {mount["name"] for mount in mounts} == claims | volumes
        for one in pod["spec"]["containers"]:
            assert len({mount["mountPath"] for mount in one["volumeMounts"]}) == len(one["volumeMounts"])
        assert {volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if "configMap" in volume} <= maps
    for thing in things:
        component = thing["metadata"]["labels"].get(COMPONENT_LABEL)
        selector = (
            thing["spec"].get("selector") if thing["kind"] in {"Service", "StatefulSet", "Deployment", "PodDisruptionBudget"} else None
        )
        if selector is not None:
            wanted = selector.get("matchLabels", selector)
            assert [name for name, labels in pods.items() if wanted.items() <= labels.items()] == [component]


@settings(max_examples=20)
@given(systems())
def test_service_programs_take_their_arguments(system: TradingSystem) -> None:
    """Every command line is one that `tradingsystem run` parses, with the metrics where the probes ask and the journal's volume as it is asked for."""
    made = plan_of(system, RELEASE)
    for thing, pod in templates(all_of(system)):
        one = pod["spec"]["containers"][0]
        if one["command"] != ["tradingsystem"] or thing["kind"] in {"CronJob", "Job"}:  # no services: each has a test of its own
            continue
        command, *arguments = one["args"]
        told = parse(arguments)
        assert command == "run"
        assert told.boot_hash == made.boot_hash == pod["metadata"]["annotations"]["tradingsystem.dev/boot-hash"]
        assert told.metrics_port == {port["name"]: port["containerPort"] for port in one["ports"]}["metrics"]
        assert bool(told.venues) == (system.spec.mode.value == "Simulation")
        assert told.secrets_mounted == any(mount["name"].startswith("secret-") for mount in one["volumeMounts"])
        assert str(told.password_file) == "/etc/tradingsystem/nats/password"
        messaging = system.spec.messaging
        if messaging.external:
            assert told.server.url == ",".join(messaging.urls)
            assert (told.server.replicas, told.server.login_prefix) == (messaging.replicas, f"{system.metadata.name}-")
            assert bool(told.server.ca_file) == bool(messaging.ca_secret_ref.name)
        assert thing["metadata"]["name"].startswith(system.metadata.name[:20])


@settings(max_examples=20)
@given(systems())
def test_network_pairs_are_open_on_both_sides(system: TradingSystem) -> None:
    """Who may call a pod of ours may also leave its own, and the other way round; all else is closed by the policy that selects every pod."""
    policies = [thing for thing in all_of(system) if thing["kind"] == "NetworkPolicy"]
    of = {thing["metadata"]["labels"].get(COMPONENT_LABEL, ""): thing["spec"] for thing in policies}
    assert of[""].keys() == {"podSelector", "policyTypes"}
    calls = {
        (name, callee, port["port"])
        for name, spec in of.items()
        for rule in spec.get("egress", [])
        for peer in rule.get("to", [])
        for callee in _components(peer)
        for port in rule["ports"]
    }
    called = {
        (caller, name, port["port"])
        for name, spec in of.items()
        for rule in spec.get("ingress", [])
        for peer in rule.get("from", [])
        for caller in _components(peer)
        for port in rule["ports"]
    }
    assert calls == called
    inside = in_filter_s_pod(system)
    assert {callee for _, callee, _ in calls} == ({"nats"} & set(of)) | ({"simulator", "triton"} & set(of)) | (
        {"filter"} if inside else set()
    )
    assert {caller for caller, callee, _ in calls if callee == "triton"} == ({"filter", "models"} if "triton" in of else set())
    assert {caller for caller, callee, _ in calls if callee == "filter"} == ({"models"} if inside else set())


@settings(max_examples=20)
@given(systems())
def test_of_a_message_server_that_a_person_runs_nothing_is_rendered(system: TradingSystem) -> None:
    """No pod, address, configuration, volume or policy of it; whoever speaks may leave for its ports, and for no pod of ours instead."""
    things, messaging = all_of(system), system.spec.messaging
    own = [thing for thing in things if thing["metadata"]["name"] == f"{system.metadata.name}-nats"]
    assert bool(own) != messaging.external
    if not messaging.external:
        return
    policies = [thing["spec"] for thing in things if thing["kind"] == "NetworkPolicy"]
    leaving = [spec for spec in policies if "egress" in spec]
    ports = [{"port": port, "protocol": "TCP"} for port in (4222, 4223)]
    assert leaving
    assert all({"ports": ports} in spec["egress"] for spec in leaving)


def _components(peer: Thing) -> list[str]:
    expressions = peer.get("podSelector", {}).get("matchExpressions", [])
    return [value for expression in expressions for value in expression["values"]]


@settings(max_examples=20)
@given(systems(), st.booleans())
def test_disruption_is_refused_only_where_and_when_it_would_leave_positions_alone(system: TradingSystem, guarded: bool) -> None:
    """In the session with positions the way of exits and stops stays; everything else, and at any other time everything, may be drained."""
    budgets = [thing for thing in all_of(system, guarded=guarded) if thing["kind"] == "PodDisruptionBudget"]
    allowed = {thing["metadata"]["labels"][COMPONENT_LABEL]: thing["spec"]["maxUnavailable"] for thing in budgets}
    fixed = {name for name, number in allowed.items() if number == 0}
    assert fixed == ({"nats", "ingestion", "execution", "watcher", "simulator"} & set(allowed) if guarded else set())
