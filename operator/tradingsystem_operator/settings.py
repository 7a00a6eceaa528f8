"""What the operator is told when it starts: flags, each with an environment variable of the same name. The chart fills them in; nothing else does.

No flag here changes what a trading system does: that is the resource's alone. A mistake is one line and status 2.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tradingsystem.domain.errors import InvalidInput

ENVIRONMENT_PREFIX = "TRADINGSYSTEM_OPERATOR_"
NATS_URL = "nats://{system}-nats.{namespace}.svc:4222"
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
LOG_LEVELS = ("debug", "info", "warning", "error")
_LABEL = re.compile("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One operator process. ``namespaces`` empty: every namespace is watched. ``identity`` is what stands in the Lease."""

    namespaces: tuple[str, ...]
    lease_namespace: str
    lease_name: str
    identity: str
    components_image: str
    triton_image: str
    triton_cpu_image: str
    components_gpu_image: str
    release_version: str
    build: str
    pull_policy: str
    resync_seconds: float
    workers: int
    metrics_host: str
    metrics_port: int
    nats_url: str
    kubeconfig: Path | None
    log_level: str


_EPILOG = """\
Every flag can be given as an environment variable instead: --lease-name as TRADINGSYSTEM_OPERATOR_LEASE_NAME; a list with commas.
A flag goes before its variable. Inside a cluster the pod's service account is used, outside of one the kubeconfig.

Rights it needs, in every watched namespace:
  tradingsystems.tradingsystem.dev           get list watch patch;  tradingsystems/status: patch;  tradingsystems/finalizers: update
  serviceaccounts configmaps services        get list watch create patch delete
  networkpolicies poddisruptionbudgets       get list watch create patch delete
  statefulsets deployments cronjobs          get list watch create patch delete
  secrets                                    get create patch (by name; never listed, never watched)
  pods                                       get list watch delete;  persistentvolumeclaims: get list watch
  events.events.k8s.io                       create
and in the namespace of its Lease: leases.coordination.k8s.io get create update.

Listens on --metrics-port: /healthz (restart me if not 200), /readyz (200 for the leader only), /metrics.
"""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """The settings of a command line and an environment. Raises ``InvalidInput`` with every mistake; ``--help`` prints and exits."""
    parser = _parser()
    given = parser.parse_args([*_from_environment(environment), *arguments])
    problems = [problem for check in _CHECKS if (problem := check(given))]
    if problems:
        raise InvalidInput("\n".join(problems))
    host = (
        environment.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
    )  # a pod runs one of us at a time, a machine may run several
    return Settings(
        namespaces=tuple(dict.fromkeys(name for each in given.namespace for name in each.split(",") if name)),
        lease_namespace=given.lease_namespace or environment.get("POD_NAMESPACE") or "default",
        lease_name=given.lease_name,
        identity=given.identity or host,
        components_image=given.components_image,
        triton_image=given.triton_image,
        triton_cpu_image=given.triton_cpu_image,
        components_gpu_image=given.components_gpu_image,
        release_version=given.release_version,
        build=given.build or given.release_version,
        pull_policy=given.pull_policy,
        resync_seconds=given.resync_seconds,
        workers=given.workers,
        metrics_host=given.metrics_host,
        metrics_port=given.metrics_port,
        nats_url=given.nats_url,
        kubeconfig=given.kubeconfig,
        log_level=given.log_level,
    )


class _Parser(argparse.ArgumentParser):
    """Mistakes are raised, so that one place prints them."""

    def error(self, message: str) -> NoReturn:
        raise InvalidInput(f"{message}; what there is: python -m tradingsystem_operator --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tradingsystem-operator",
        description="Runs TradingSystem resources as pods and keeps them right. One leader works; further replicas stand by.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--namespace", action="append", default=[], metavar="NAME", help="watch this namespace only; may be repeated; none: all of them")
    add("--lease-namespace", default="", metavar="NAME", help="where the Lease lies; else POD_NAMESPACE, else default")
    add("--lease-name", default="tradingsystem-operator", metavar="NAME", help="name of the Lease (default: %(default)s)")
    add("--identity", default="", metavar="NAME", help="who this process is in the Lease; else POD_NAME, else host and process")
    add("--components-image", default="", metavar="IMAGE", help="image of the services; required")
    add(
        "--triton-image",
        default="",
        metavar="IMAGE",
        help="image of Triton on a GPU; none: models run in process, and systems that ask for it say so",
    )
    add("--components-gpu-image", default="", metavar="IMAGE", help="image that builds TensorRT engines for it; none: it runs onnxruntime")
    add("--triton-cpu-image", default="", metavar="IMAGE", help="image of Triton on a CPU, for spec.inference.gpu.count: 0; none: as above")
    add("--release-version", default=importlib.metadata.version("tradingsystem"), metavar="VERSION", help="release (default: %(default)s)")
    add("--build", default="", metavar="TEXT", help="the build that services report; else the release's version")
    add("--pull-policy", default="IfNotPresent", choices=PULL_POLICIES, help="of the services' image (default: %(default)s)")
    add("--resync-seconds", type=float, default=120.0, metavar="N", help="look at everything again after so long (default: %(default)s)")
    add("--workers", type=int, default=4, metavar="N", help="systems that are worked on at once (default: %(default)s)")
    add("--metrics-host", default="0.0.0.0", metavar="ADDRESS", help="where /metrics and the probes listen (default: %(default)s)")
    add("--metrics-port", type=int, default=8000, metavar="PORT", help="their port (default: %(default)s)")
    add("--nats-url", default=NATS_URL, metavar="URL", help="where systems' message servers are (default: %(default)s)")
    add("--kubeconfig", type=Path, default=None, metavar="FILE", help="outside a cluster; else KUBECONFIG, else ~/.kube/config")
    add("--log-level", default="info", choices=LOG_LEVELS, help="JSON lines on stderr, from this level on (default: %(default)s)")
    return parser


def _from_environment(environment: Mapping[str, str]) -> list[str]:
    """Variables as flags; they come first, so that a flag on the command line goes before them. An empty one counts as not set."""
    known = {action.dest: action.option_strings[-1] for action in _parser()._actions if action.dest != "help"}
    found = []
    for destination, flag in known.items():
        if value := environment.get(ENVIRONMENT_PREFIX + destination.upper(), ""):
            found += [f"{flag}={value}"]
    return found


def _image_is_given(given: argparse.Namespace) -> str:
    return "" if given.components_image else "--components-image is required: the image every service runs"


def _names_are_names(given: argparse.Namespace) -> str:
    names = [name for each in given.namespace for name in each.split(",") if name]
    wrong = [name for name in (*names, given.lease_name, given.lease_namespace) if name and not _LABEL.fullmatch(name)]
    return f"not a name Kubernetes takes: {', '.join(map(repr, wrong))}; use lower-case letters, digits and -, at most 63" if wrong else ""


def _resync_is_sane(given: argparse.Namespace) -> str:
    return "" if 1 <= given.resync_seconds <= 86_400 else f"--resync-seconds {given.resync_seconds:g}: between 1 and 86400"


def _workers_are_sane(given: argparse.Namespace) -> str:
    return "" if 1 <= given.workers <= 64 else f"--workers {given.workers}: between 1 and 64"


def _port_is_a_port(given: argparse.Namespace) -> str:
    return "" if 0 <= given.metrics_port <= 65_535 else f"--metrics-port {given.metrics_port}: between 0 (any free one) and 65535"


def _url_can_be_filled_in(given: argparse.Namespace) -> str:
    try:
        filled = given.nats_url.format(system="a", namespace="b")
    except (KeyError, IndexError, ValueError):
        filled = ""
    return "" if filled.startswith(("nats://", "tls://")) else f"--nats-url {given.nats_url!r}: such as {NATS_URL}"


_CHECKS: tuple[Callable[[argparse.Namespace], str], ...] = (
    _image_is_given,
    _names_are_names,
    _resync_is_sane,
    _workers_are_sane,
    _port_is_a_port,
    _url_can_be_filled_in,
)
