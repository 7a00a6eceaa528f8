"""Everything that is rendered, at a real API server: taken as it is, strictly, and unchanged by being applied twice."""

from __future__ import annotations

import pytest

from tests.cluster.api import Api
from tests.operator.golden.generate_golden import SPECS, rendered
from tradingsystem_operator.objects import CRON_JOB, FIELD_MANAGER, JOB, WORKLOAD_KINDS, Owner, kind_of
from tradingsystem_operator.release import Release
from tradingsystem_operator.revisions import Revision, to_config_map

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

APPLY = f"fieldManager={FIELD_MANAGER}&fieldValidation=Strict"


@pytest.fixture(scope="module")
def namespace(api: Api) -> str:
    """A namespace at the restricted Pod Security level, with warnings as the API server's own check of the templates."""
    name = "trading"
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    status, answer = api.ask(
        "POST", "/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name, "labels": labels}}
    )
    assert status == 201, answer
    return name


@pytest.mark.parametrize("system", sorted(SPECS))
def test_every_rendered_object_is_taken_and_applying_it_again_changes_nothing(api: Api, namespace: str, system: str) -> None:
    """No unknown field, no wrong type, nothing that the server normalises away: what is idle writes nothing."""
    for thing in rendered(system):
        path = f"{kind_of(thing).path(namespace, thing['metadata']['name'])}?{APPLY}"
        first = api.ask("PATCH", path, thing, "application/apply-patch+yaml")
        assert first[0] in {200, 201}, (thing["kind"], thing["metadata"]["name"], first[1])
        second = api.ask("PATCH", path, thing, "application/apply-patch+yaml")
        assert second[0] == 200
        assert second[1]["metadata"]["resourceVersion"] == first[1]["metadata"]["resourceVersion"], (
            thing["kind"],
            thing["metadata"]["name"],
        )
    for thing in rendered(system):
        assert api.ask("DELETE", kind_of(thing).path(namespace, thing["metadata"]["name"]))[0] in {200, 202}


def test_pods_of_every_template_pass_the_restricted_level(api: Api, namespace: str) -> None:
    """Pod Security is enforced on pods, not on templates: each template, asked for as a pod, is admitted."""
    for system in sorted(SPECS):
        account, *things = rendered(system)
        assert api.ask("POST", kind_of(account).path(namespace), account)[0] == 201
        for thing in things:
            if kind_of(thing) not in (*WORKLOAD_KINDS, JOB):
                continue
            template = thing["spec"]["jobTemplate"]["spec"]["template"] if kind_of(thing) is CRON_JOB else thing["spec"]["template"]
            claims = [
                {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": "any"}}
                for claim in thing["spec"].get("volumeClaimTemplates", [])
            ]
            spec = {**template["spec"], "volumes": [*template["spec"]["volumes"], *claims]}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": "asked"}, "spec": spec}
            status, answer = api.ask("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict", pod)
            assert status == 201, (thing["metadata"]["name"], answer["message"])
        assert api.ask("DELETE", kind_of(account).path(namespace, account["metadata"]["name"]))[0] == 200


def test_the_largest_revision_fits_into_a_config_map(api: Api, namespace: str) -> None:
    """A million bytes are allowed; five of them are kept."""
    owner = Owner(name="momentum", namespace=namespace, uid="00000000-0000-0000-0000-000000000007")
    release = Release(version="1.2.3", build="1.2.3+abc", components_image="example.org/components:1.2.3")
    thing = to_config_map(Revision(number=1, release=release, spec_hash="s", objects=rendered("paper")), owner)
    status, answer = api.ask("POST", f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All&fieldValidation=Strict", thing)
    assert status == 201, answer
    assert len(thing["binaryData"]["revision.json.gz"]) < 50_000
