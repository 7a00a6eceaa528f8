"""Single decisions of the rendering: which GPU, which volume, which schedule, what is left out and said."""

from __future__ import annotations

from typing import Any

import pytest

from tests.operator.systems import RELEASE
from tests.spec.documents import LIVE, document
from tradingsystem.spec import TradingSystem, from_document
from tradingsystem_operator.desired import build_all, left_out, plan_of, spec_config_map
from tradingsystem_operator.desired.schedules import schedule_name
from tradingsystem_operator.objects import Owner
from tradingsystem_operator.release import Release

OWNER = Owner(name="momentum", namespace="trading", uid="u-7")
PAPER = {"spec.mode": "Paper", "spec.execution.broker.secretRef.name": "alpaca"}


def of(changes: dict[str, Any]) -> TradingSystem:
    return from_document(document(changes))


def thing(changes: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    made = build_all(of(changes), RELEASE, OWNER)
    return {(each["kind"], each["metadata"]["name"]): each for each in made}[kind, f"momentum-{name}"]


def pod(changes: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = thing(changes, kind, name)["spec"]["template"]["spec"]
    return found


def terms(capability: str, resource: str = "nvidia.com/gpu") -> list[list[tuple[str, str, str]]]:
    gpu = {"resourceName": resource, "memoryMiBMin": 39000, "computeCapability": capability}
    spec = pod({"spec.inference": {"runtime": "Triton", "gpu": gpu}}, "Deployment", "triton")
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [[(one["key"], one["operator"], one["values"][0]) for one in term["matchExpressions"]] for term in required]


def fits(term: list[tuple[str, str, str]], labels: dict[str, int]) -> bool:
    """As the scheduler reads a term."""
    return all(key in labels and (labels[key] == int(value) if how == "In" else labels[key] > int(value)) for key, how, value in term)


@pytest.mark.parametrize(
    ("capability", "node", "right"),
    [
        ("8.0", (8, 0, 40536), True),
        ("8.0", (8, 0, 39000), True),
        ("8.0", (8, 0, 38999), False),
        ("8.0", (7, 5, 81920), False),
        ("8.0", (9, 0, 81920), True),
        ("8.6", (8, 0, 81920), False),
        ("8.6", (8, 6, 81920), True),
        ("8.6", (9, 0, 81920), True),
        ("10.0", (9, 0, 81920), False),
    ],
)
def test_a_node_is_right_by_what_its_gpu_can_do(capability: str, node: tuple[int, int, int], right: bool) -> None:
    """At least the capability, counted as a version and not as a decimal, and at least the memory."""
    labels = dict(zip(("nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor", "nvidia.com/gpu.memory"), node, strict=True))
    assert any(fits(term, labels) for term in terms(capability)) is right


def test_a_slice_of_a_gpu_is_its_own_resource_with_its_own_memory() -> None:
    """MIG: the slice's resource is asked for, once, and compared by the slice's memory."""
    inference = {"runtime": "Triton", "gpu": {"resourceName": "nvidia.com/mig-3g.20gb"}}
    spec = pod({"spec.inference": inference}, "Deployment", "triton")
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/mig-3g.20gb"] == "1"
    assert {key for term in terms("8.0", "nvidia.com/mig-3g.20gb") for key, _, _ in term} >= {"nvidia.com/mig-3g.20gb.memory"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]


@pytest.mark.parametrize("inference", [{}, {"runtime": "Triton", "placement": "AnyNode"}])
def test_without_a_wish_the_filter_runs_anywhere(inference: dict[str, Any]) -> None:
    """In process, and where the hop may cross the network, nothing of a GPU's node is asked for."""
    spec = pod({"spec.inference": inference}, "Deployment", "filter")
    assert not spec.keys() & {"affinity", "tolerations"}
    assert set(spec["containers"][0]["resources"]["limits"]) == {"memory"}


def test_the_filter_goes_to_triton_s_node_where_it_can() -> None:
    """A wish and no condition: without that node it runs elsewhere. It bears the GPU's taint, since it may be wanted there, and asks for no GPU."""
    spec = pod({"spec.inference.runtime": "Triton"}, "Deployment", "filter")
    (wish,) = spec["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert spec["affinity"].keys() == {"podAffinity"}
    selector = wish["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert selector == thing({"spec.inference.runtime": "Triton"}, "Deployment", "triton")["spec"]["selector"]["matchLabels"]
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert set(spec["containers"][0]["resources"]["limits"]) == {"memory"}
    on_cpu = pod({"spec.inference": {"runtime": "Triton", "gpu": {"count": 0}}}, "Deployment", "filter")
    assert "affinity" in on_cpu
    assert "tolerations" not in on_cpu


@pytest.mark.parametrize(
    ("count", "image", "backend"), [(1, "example.org/triton:1.2.3", "onnxruntime"), (0, "example.org/triton-cpu:1.2.3", "python")]
)
def test_triton_on_a_gpu_or_without_one(count: int, image: str, backend: str) -> None:
    """The image and the backend that fit, one GPU or none, and models is told which graphs run there."""
    asked = {"spec.inference": {"runtime": "Triton", "gpu": {"count": count}}}
    spec = pod(asked, "Deployment", "triton")
    (one,) = spec["containers"]
    assert one["image"] == image
    assert one["resources"]["limits"].get("nvidia.com/gpu") == ("1" if count else None)
    assert f"--model-config-name={backend}" in one["args"]
    assert "--model-control-mode=explicit" in one["args"]
    (loads,) = pod(asked, "Deployment", "models")["containers"]
    told = dict(zip(loads["args"], loads["args"][1:], strict=False))
    assert (told["--triton"], told["--triton-backend"]) == ("momentum-triton:9001", backend)
    assert "after" not in str(thing(asked, "Deployment", "triton")["metadata"].get("annotations", {}))
    assert "triton" not in thing(asked, "Deployment", "filter")["metadata"]["annotations"]["tradingsystem.dev/after"]


def test_in_one_pod_triton_and_the_filter_share_memory() -> None:
    """One pod on the GPU's node, two containers, one /dev/shm; the filter asks its own pod and shows the key; models reaches it ready or not."""
    asked = {"spec.inference": {"runtime": "Triton", "placement": "Sidecar"}}
    made = {(each["kind"], each["metadata"]["name"]): each for each in build_all(of(asked), RELEASE, OWNER)}
    assert ("Deployment", "momentum-triton") not in made
    assert ("NetworkPolicy", "momentum-triton") not in made
    spec = pod(asked, "Deployment", "filter")
    asks, serves = spec["containers"]
    assert (asks["name"], serves["name"], serves["image"]) == ("filter", "triton", "example.org/triton:1.2.3")
    assert "nvidia.com/gpu" in serves["resources"]["limits"]
    assert "nvidia.com/gpu" not in asks["resources"]["limits"]
    assert "nodeAffinity" in spec["affinity"]
    for one in (asks, serves):
        assert {"name": "shared-memory", "mountPath": "/dev/shm"} in one["volumeMounts"]
        assert "/etc/tradingsystem/triton" in {mount["mountPath"] for mount in one["volumeMounts"]}
    assert [volume["emptyDir"]["medium"] for volume in spec["volumes"] if volume["name"] == "shared-memory"] == ["Memory"]
    told = dict(zip(asks["args"], asks["args"][1:], strict=False))
    assert (told["--triton"], told["--triton-key-file"]) == ("127.0.0.1:9001", "/etc/tradingsystem/triton/key")
    assert "--allow-client-shm=true" in serves["args"]
    numbers = [port["containerPort"] for one in (asks, serves) for port in one["ports"]]
    assert len(set(numbers)) == len(numbers)
    service = made["Service", "momentum-triton"]["spec"]
    assert service["selector"].items() <= made["Deployment", "momentum-filter"]["spec"]["template"]["metadata"]["labels"].items()
    assert service["publishNotReadyAddresses"]
    assert [port["port"] for port in service["ports"]] == [9_001]


def test_the_key_of_triton_stands_in_a_file_and_nowhere_else() -> None:
    """A shell reads it when the container starts: neither the object nor the environment has it, and both protocols ask for it."""
    (one,) = pod({"spec.inference.runtime": "Triton"}, "Deployment", "triton")["containers"]
    assert one["command"] == ["/bin/sh"]
    assert one["args"][1].count('="$(cat /etc/tradingsystem/triton/key)"') == 2
    assert {each["name"] for each in one["env"]} == {"HOME"}
    assert "/etc/tradingsystem/triton" in {mount["mountPath"] for mount in one["volumeMounts"] if mount.get("readOnly")}


@pytest.mark.parametrize(("count", "flag"), [(1, "--triton-image"), (0, "--triton-cpu-image")])
def test_without_an_image_triton_is_left_out_by_name_and_models_run_in_process(count: int, flag: str) -> None:
    """Nothing of Triton is rendered, the slice says in process, and the status can name the operator's flag that is missing."""
    system = of({"spec.inference": {"runtime": "Triton", "gpu": {"count": count}}})
    bare = Release(version="1.2.3", build="1.2.3+abc", components_image="example.org/components:1.2.3")
    assert "triton" not in {workload.name for workload in plan_of(system, bare).workloads}
    (slice_map,) = [
        each for each in build_all(system, bare, OWNER) if (each["kind"], each["metadata"]["name"]) == ("ConfigMap", "momentum-filter")
    ]
    assert '"runtime":"InProcess"' in slice_map["data"]["slice.json"]
    ((reason, message),) = left_out(system, bare)
    assert reason == "NoTritonImage"
    assert f"({flag})" in message
    assert left_out(system, RELEASE) == ()


def test_learning_runs_on_its_schedule_in_paper_and_live() -> None:
    """Not suspended, in its zone, never two at once, by the command a person would give; in Simulation only when a person starts it."""
    for given in (PAPER, LIVE):
        spec = thing(given, "CronJob", "learning-incremental")["spec"]
        assert (spec["suspend"], spec["timeZone"], spec["concurrencyPolicy"]) == (False, "America/New_York", "Forbid")
        (one,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert [*one["command"], *one["args"][:2]] == ["tradingsystem", "learn", "incremental"]
    assert thing({}, "CronJob", "learning-incremental")["spec"]["suspend"]
    assert left_out(of(PAPER), RELEASE) == left_out(of({}), RELEASE) == ()


def test_learning_reads_recordings_and_alone_has_the_key_that_signs() -> None:
    """The recordings are read-only, candidates have a folder of their own on the same volume, on the recorder's node; no other pod mounts the key."""
    pod = thing(LIVE, "CronJob", "learning-retrain")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    mounted = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    claim = next(volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if volume["name"] == "recordings")
    recorder = thing(LIVE, "StatefulSet", "recorder")
    assert claim == f"{recorder['spec']['volumeClaimTemplates'][0]['metadata']['name']}-{recorder['metadata']['name']}-0"
    assert mounted["/var/lib/tradingsystem/recordings/recording"]["readOnly"]
    assert "readOnly" not in mounted["/var/lib/tradingsystem/models"]
    (beside,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert beside["labelSelector"]["matchLabels"] == recorder["spec"]["selector"]["matchLabels"]
    with_key = {each["metadata"]["name"] for each in build_all(of(LIVE), RELEASE, OWNER) if "privateKey" in str(each)}
    assert {name.rpartition("learning-")[2] for name in with_key} == {"incremental", "retrain"}


@pytest.mark.parametrize("name", ["filter", "models"])
def test_who_loads_models_has_a_folder_that_the_object_store_fills(name: str) -> None:
    """No volume is shared; the keys that verify are public, and a pod starts without them."""
    for given, keys in (({}, False), (LIVE, True)):
        pod = thing(given, "Deployment", name)["spec"]["template"]["spec"]
        (one,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["models"] == {"name": "models", "emptyDir": {}}
        assert "--models-from-nats" in one["args"]
        assert one["args"][one["args"].index("--models-folder") + 1] in {mount["mountPath"] for mount in one["volumeMounts"]}
        assert ("model-keys" in volumes) is ("--models-keys-file" in one["args"]) is keys
        if keys:
            secret = volumes["model-keys"]["secret"]
            assert (secret["optional"], [item["key"] for item in secret["items"]]) == (True, ["publicKey"])


def test_the_command_in_the_pod_is_one_the_program_knows() -> None:
    """Every flag that the operator gives a learning job is one that `tradingsystem learn` has."""
    import inspect

    from tradingsystem.cli import learn

    (one,) = thing(PAPER, "CronJob", "learning-retrain")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    flags = {word for word in one["args"] if word.startswith("--")}
    known = {f"--{name.replace('_', '-')}" for name in inspect.signature(learn.retrain).parameters}
    assert flags <= known


def test_schedule_names_leave_room_and_stay_apart() -> None:
    """52 characters at most, and two systems that differ only at their end do not share one."""
    long = "a" * 39
    names = {schedule_name(f"{long}{end}", job) for end in "bc" for job in ("learning-incremental", "learning-retrain")}
    assert len(names) == 4
    assert max(map(len, names)) <= 52


def test_volumes_are_kept_unless_a_person_says_otherwise() -> None:
    """The default keeps journal and recordings after deletion; Delete says so to the cluster; the class is named only where one is asked for."""
    kept = thing({}, "StatefulSet", "nats")["spec"]
    assert kept["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert "storageClassName" not in kept["volumeClaimTemplates"][0]["spec"]
    gone = thing({"spec.storage": {"onDelete": "Delete", "storageClassName": "fast"}}, "StatefulSet", "recorder")["spec"]
    assert gone["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    assert gone["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "fast"


def test_simulation_reaches_the_simulator_and_live_reaches_the_internet_only() -> None:
    """A simulated order cannot leave the cluster, and what trades for money cannot reach the cluster's own addresses."""
    simulated = thing({}, "NetworkPolicy", "execution")["spec"]["egress"]
    assert "ipBlock" not in str([rule for rule in simulated if rule["ports"][0]["port"] != 53])
    live = thing(LIVE, "NetworkPolicy", "execution")["spec"]["egress"]
    blocks = [peer["ipBlock"] for rule in live for peer in rule["to"] if "except" in peer.get("ipBlock", {})]
    assert [block["cidr"] for block in blocks] == ["0.0.0.0/0", "::/0"]
    assert "10.0.0.0/8" in blocks[0]["except"]
    assert "8090" not in str(live)


def test_single_writers_are_sets_of_one_and_others_are_recreated() -> None:
    """Never two pods of a workload: a set starts the next after the last is gone, a Deployment ends the old one first."""
    assert thing({}, "StatefulSet", "execution")["spec"]["replicas"] == 1
    assert thing({}, "StatefulSet", "ingestion")["spec"]["replicas"] == 1
    assert thing({}, "Deployment", "filter")["spec"]["strategy"] == {"type": "Recreate"}


def test_a_release_rolls_by_image_and_a_boot_change_by_annotation() -> None:
    """A changed universe changes the pod template of every service that must agree with it, and not the message server's."""

    def annotations(changes: dict[str, Any], kind: str, name: str) -> dict[str, str]:
        found: dict[str, str] = thing(changes, kind, name)["spec"]["template"]["metadata"]["annotations"]
        return found

    for kind, name in (("StatefulSet", "execution"), ("Deployment", "filter"), ("StatefulSet", "ingestion")):
        assert annotations({}, kind, name) != annotations({"spec.universe.symbolsMax": 100}, kind, name)
    assert annotations({}, "StatefulSet", "nats") == annotations({"spec.universe.symbolsMax": 100}, "StatefulSet", "nats")
    assert annotations({}, "StatefulSet", "nats") != annotations({"spec.storage.journal.size": "20Gi"}, "StatefulSet", "nats")


def test_last_good_spec_is_kept_with_its_hashes() -> None:
    """What runs can be read back as it was written, with the generation it belongs to."""
    system = of({"spec.risk.positionsOpenMax": 2})
    made = plan_of(system, RELEASE)
    data = spec_config_map(system, 7, made, OWNER)["data"]
    assert (data["generation"], data["bootHash"], data["liveHash"]) == ("7", made.boot_hash, made.live_hash)
    assert '"positionsOpenMax":2' in data["spec.json"]
