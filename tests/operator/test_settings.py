"""The operator's flags: what the chart may rely on, and that a mistake is one message and never a traceback."""

from __future__ import annotations

import pytest

from tradingsystem.domain.errors import InvalidInput
from tradingsystem_operator.settings import parse

IMAGE = "--components-image=example/components:1"


def test_the_chart_s_flags_are_understood() -> None:
    """What the chart writes is what the process gets."""
    settings = parse(
        [
            *("--namespace", "a", "--namespace", "b,c", IMAGE, "--release-version", "1.2.3", "--pull-policy", "Never"),
            *("--lease-name", "one", "--lease-namespace", "place", "--resync-seconds", "60", "--metrics-port", "9000"),
        ],
        {"POD_NAME": "operator-0"},
    )
    assert settings.namespaces == ("a", "b", "c")
    assert (settings.lease_name, settings.lease_namespace, settings.identity) == ("one", "place", "operator-0")
    assert (settings.release_version, settings.build, settings.pull_policy) == ("1.2.3", "1.2.3", "Never")
    assert (settings.resync_seconds, settings.metrics_port) == (60.0, 9000)


def test_nothing_but_the_image_is_required() -> None:
    """Without a namespace everything is watched; the Lease lies where the pod does."""
    settings = parse([IMAGE], {"POD_NAMESPACE": "here"})
    assert (settings.namespaces, settings.lease_namespace, settings.lease_name) == ((), "here", "tradingsystem-operator")


def test_a_variable_stands_in_for_a_flag_and_a_flag_goes_before_it() -> None:
    """Both ways of telling it, and which one wins."""
    environment = {"TRADINGSYSTEM_OPERATOR_COMPONENTS_IMAGE": "from/environment:1", "TRADINGSYSTEM_OPERATOR_LEASE_NAME": "other"}
    settings = parse(["--lease-name", "mine"], environment)
    assert (settings.components_image, settings.lease_name) == ("from/environment:1", "mine")


def test_every_mistake_is_told_at_once() -> None:
    """Somebody who has three wrong flags corrects them in one go."""
    with pytest.raises(InvalidInput) as caught:
        parse(["--namespace", "Not_A_Name", "--resync-seconds", "0", "--metrics-port", "70000"], {})
    told = str(caught.value).splitlines()
    assert len(told) == 4
    assert all(any(word in line for line in told) for word in ("--components-image", "'Not_A_Name'", "--resync-seconds", "--metrics-port"))


@pytest.mark.parametrize("flags", [["--unknown"], [IMAGE, "--pull-policy", "Sometimes"], [IMAGE, "--resync-seconds", "soon"]])
def test_what_is_no_flag_is_refused_with_the_way_to_help(flags: list[str]) -> None:
    """A typing mistake must not start an operator that watches something else."""
    with pytest.raises(InvalidInput, match="--help"):
        parse(flags, {})


def test_help_teaches_rights_and_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    """Who installs without the chart finds everything here."""
    with pytest.raises(SystemExit) as ended:
        parse(["--help"], {})
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(
        word in text for word in ("--namespace", "leases.coordination.k8s.io", "/readyz", "secrets", "TRADINGSYSTEM_OPERATOR_LEASE_NAME")
    )
