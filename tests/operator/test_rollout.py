"""What may be applied now, what waits and why: order, positions, drift, volumes that cannot change, and what is no longer wanted."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from tests.operator.systems import OWNER, observed, workload_object
from tradingsystem_operator.facts import WorkloadFact
from tradingsystem_operator.objects import CONFIG_MAP, REVISION_ANNOTATION, Key, Object, key_of, make, workload_of
from tradingsystem_operator.release import Release
from tradingsystem_operator.revisions import Revision
from tradingsystem_operator.rollout import PATIENCE_SECONDS, Round, Situation, plan_round

RELEASE = Release(version="1", build="1", components_image="one")


def revision(number: int, *objects: Object) -> Revision:
    return Revision(number=number, release=RELEASE, spec_hash=str(number), objects=objects)


def workloads(image: str = "one") -> tuple[Object, ...]:
    """nats, execution after it, ingestion after both, monitor; each but nats with its slice."""
    slices = [
        make(CONFIG_MAP, OWNER, f"momentum-{name}", name, data={"slice.json": image}) for name in ("execution", "ingestion", "monitor")
    ]
    return (
        *slices,
        workload_object("StatefulSet", "nats", image=image),
        workload_object("StatefulSet", "execution", image=image, after="nats"),
        workload_object("StatefulSet", "ingestion", image=image, after="nats,execution"),
        workload_object("Deployment", "monitor", image=image, after="nats"),
    )


def planned(
    wanted: Revision,
    children: Iterable[Object] = (),
    *,
    kept: Iterable[Revision] = (),
    unready: Iterable[str] = (),
    guarded: bool = False,
    waited: Mapping[str, float] | None = None,
    also: tuple[Object, ...] = (),
) -> Round:
    there = {key_of(thing): thing for thing in children}
    facts = {}
    for thing in wanted.objects:
        if thing["kind"] == CONFIG_MAP.kind:
            continue
        name, found = workload_of(thing), there.get(key_of(thing))
        number = int(found["metadata"]["annotations"][REVISION_ANNOTATION]) if found is not None else 0
        facts[name] = WorkloadFact(name=name, exists=found is not None, ready=found is not None and name not in unready, revision=number)
    return plan_round(
        Situation(
            wanted=wanted,
            kept={each.number: each for each in (*kept, wanted)},
            also=also,
            children=there,
            workloads=facts,
            owner_uid=OWNER.uid,
            guarded=guarded,
            waited=waited or {},
        )
    )


def images(work: Round) -> dict[str, str]:
    """Which image each workload would be applied with."""
    return {
        workload_of(thing): thing["spec"]["template"]["spec"]["containers"][0]["image"]
        for thing in work.apply
        if "template" in thing.get("spec", {})
    }


def shown(made: Revision, **options: bool) -> list[Object]:
    return [observed(thing, revision=made.number, **options) for thing in made.objects]


FIRST = revision(1, *workloads())
SECOND = revision(2, *workloads("two"))


def test_the_first_round_starts_what_waits_for_nobody() -> None:
    """Who listens starts before who speaks."""
    work = planned(FIRST)
    assert set(images(work)) == {"nats"}
    assert {name: problem.reason for name, problem in work.waiting.items()} == dict.fromkeys(
        ("execution", "ingestion", "monitor"), "WaitsForOthers"
    )
    assert "nats" in work.waiting["execution"].message
    assert len([thing for thing in work.apply if thing["kind"] == CONFIG_MAP.kind]) == 3, "what nobody reads yet need not wait"


def test_each_starts_when_those_before_it_are_ready() -> None:
    """The chain goes on link by link."""
    nats = observed(FIRST.objects[3], revision=1)
    assert set(images(planned(FIRST, [nats], unready=["nats"]))) == {"nats"}
    assert set(images(planned(FIRST, [nats]))) == {"nats", "execution", "monitor"}
    assert set(images(planned(FIRST, shown(FIRST)))) == {"nats", "execution", "ingestion", "monitor"}


def test_nobody_waits_for_ever() -> None:
    """Services bear any order; a recorder that never gets ready must not keep execution's correction from being applied."""
    assert "execution" in images(planned(FIRST, waited={"execution": PATIENCE_SECONDS}))


def test_an_unsafe_change_waits_while_positions_are_open_in_session() -> None:
    """A new image must not restart what guards a position; what waits is kept as it runs, its slice with it, and the harmless goes on."""
    work = planned(SECOND, shown(FIRST), kept=[FIRST], guarded=True)
    assert {name: problem.reason for name, problem in work.waiting.items() if name != "monitor"} == dict.fromkeys(
        ("nats", "execution", "ingestion"), "PositionsOpen"
    )
    assert {name: image for name, image in images(work).items() if name != "monitor"} == dict.fromkeys(
        ("nats", "execution", "ingestion"), "one"
    )
    kept = {workload_of(thing): thing["data"]["slice.json"] for thing in work.apply if thing["kind"] == CONFIG_MAP.kind}
    assert kept["execution"] == "one"
    assert all(thing["metadata"]["annotations"][REVISION_ANNOTATION] == "1" for thing in work.apply if workload_of(thing) == "execution")


def test_it_goes_once_nothing_is_held() -> None:
    """Waiting ends by itself, in order: nats first, the others once it runs the new revision."""
    first = planned(SECOND, shown(FIRST), kept=[FIRST])
    assert images(first) == {"nats": "two", "execution": "one", "ingestion": "one", "monitor": "one"}
    children = [*(thing for thing in shown(FIRST) if workload_of(thing) != "nats"), observed(SECOND.objects[3], revision=2)]
    second = planned(SECOND, children, kept=[FIRST])
    assert images(second) == {"nats": "two", "execution": "two", "ingestion": "one", "monitor": "two"}


def test_a_revision_that_restarts_nobody_waits_for_nobody() -> None:
    """A change of a Service or of a replica's budget is no reason to wait for the close."""
    changed = list(copy.deepcopy(workloads()))
    changed[0]["data"] = {"slice.json": "other"}
    work = planned(revision(2, *changed), shown(FIRST), kept=[FIRST], guarded=True)
    assert work.waiting == {}


def test_drift_is_repaired_at_once_whatever_is_held() -> None:
    """Somebody who edits an image by hand has restarted the pod already; putting it right must not wait for the close."""
    drifted = shown(FIRST)
    drifted[4]["spec"] = drifted[4]["spec"] | {"template": {"spec": {"containers": [{"name": "execution", "image": "by hand"}]}}}
    work = planned(FIRST, drifted, guarded=True)
    assert work.waiting == {}
    assert images(work)["execution"] == "one"


def test_a_volume_s_size_cannot_change_and_everything_else_still_does() -> None:
    """The API server would refuse the whole StatefulSet for its volume: the person learns how to resize, the new image goes out."""

    def with_volume(size: str, image: str) -> Object:
        template = {"metadata": {"name": "journal"}, "spec": {"resources": {"requests": {"storage": size}}}}
        return workload_object("StatefulSet", "nats", image=image, volumeClaimTemplates=[template])

    old, new = revision(1, with_volume("10Gi", "one")), revision(2, with_volume("20Gi", "two"))
    work = planned(new, shown(old), kept=[old])
    assert [problem.reason for problem in work.warnings] == ["StorageSizeChanged"]
    assert work.apply[0]["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "10Gi"
    assert images(work) == {"nats": "two"}
    assert new.objects[0]["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "20Gi", "a revision was altered"


def test_what_is_no_longer_wanted_goes_and_what_is_not_ours_stays() -> None:
    """Pruning takes what we control, never what merely carries the label."""
    stale = observed(make(CONFIG_MAP, OWNER, "momentum-stale", "", data={}), revision=1)
    foreign = copy.deepcopy(stale)
    foreign["metadata"] |= {"name": "momentum-foreign", "ownerReferences": []}
    pod = copy.deepcopy(stale) | {"kind": "Pod"}
    pod["metadata"] |= {"name": "momentum-pod"}
    work = planned(FIRST, [*shown(FIRST), stale, foreign, pod])
    assert [key_of(thing) for thing in work.prune] == [Key("ConfigMap", "momentum-stale")]


def test_a_workload_that_guards_is_not_pruned_while_it_guards() -> None:
    """Taking the simulator away from open positions is as bad as restarting it."""
    simulator = observed(workload_object("Deployment", "simulator"), revision=1)
    held = planned(FIRST, [*shown(FIRST), simulator], guarded=True)
    assert held.prune == ()
    assert held.waiting["simulator"].reason == "PositionsOpen"
    assert [key_of(thing).name for thing in planned(FIRST, [*shown(FIRST), simulator]).prune] == ["momentum-simulator"]


def test_pods_come_after_what_they_refer_to() -> None:
    """A pod whose ConfigMap is not there yet waits minutes for its next try."""
    kinds = [thing["kind"] for thing in planned(FIRST, shown(FIRST)).apply]
    assert kinds.index("StatefulSet") > max(number for number, kind in enumerate(kinds) if kind == "ConfigMap")
