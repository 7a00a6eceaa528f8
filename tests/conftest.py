"""What a test may ask of the machine, and what happens when it is not there.

A test that needs a real program says so with a marker. Where the program is missing the test is skipped with a reason that
says how to get it; with CI=true the same absence is an error, because a green run that tested nothing is worse than a red
one. No test skips itself: every reason to skip stands in NEEDS below.

The seed of hypothesis is printed at the end; `pytest --hypothesis-seed=N` runs the same examples again. With CI=true
examples are derived from the tests themselves, so that a run says the same thing every time.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import hypothesis
import hypothesis.core
import pytest
import structlog

from tests.cluster import build, packages

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
SEED_VARIABLE = "TESTS_HYPOTHESIS_SEED"


@dataclasses.dataclass(frozen=True)
class Need:
    """A program that tests with the marker of the same name run against."""

    programs: tuple[str, ...]
    remedy: str
    demanded_in_ci: bool = True
    folder: Path | None = None  # where else the program may lie
    mounts: bool = False  # the program must be allowed to mount file systems
    built: tuple[build.Program, ...] = ()  # built here, by tests/cluster, and lying in its cache
    packages: Mapping[str, str] = dataclasses.field(default_factory=dict)  # programs of Debian packages that root runs
    library: str = ""  # a Python package that is an extra

    def path(self) -> str | None:
        """Where the first program found lies: beside this interpreter, else on PATH."""
        places = os.pathsep.join(
            [str(Path(sys.executable).parent), os.environ.get("PATH", ""), *([str(self.folder)] if self.folder else [])]
        )
        return next((found for name in self.programs if (found := shutil.which(name, path=places))), None)


NEEDS = {
    "nats": Need(("nats-server",), "it is installed with the project: make venv"),
    "redis": Need(("redis-server",), "on Debian and Ubuntu: apt-get install redis-server"),
    "triton": Need(("tritonserver",), "make triton", folder=Path(__file__).parents[1] / ".tools" / "triton" / "bin"),
    "cluster": Need(("etcd", "kube-apiserver"), "make cluster", built=build.API_PROGRAMS),
    "pods": Need(("containerd",), "make cluster (as root)", built=build.NODE_PROGRAMS, packages=packages.NODE_PACKAGES),
    "kwok": Need(("kwok",), "python -m tests.cluster.run build --kwok", built=(*build.CONTROL_PLANE_PROGRAMS, build.KWOK)),
    "charts": Need(("helm", "kubeconform", "kube-score"), build.TOOLS_COMMAND, built=build.CHART_PROGRAMS),
    "workflows": Need(("actionlint",), build.TOOLS_COMMAND, built=build.WORKFLOW_PROGRAMS),
    "torch": Need((), "install the extra `learn`: requirements/learn.txt", demanded_in_ci=False, library="torch"),
    "compiler": Need(("cc", "gcc", "clang"), "a C compiler; on Debian and Ubuntu: apt-get install gcc"),
    "tmpfs": Need(("mount",), "run as root, outside a sandbox", demanded_in_ci=False, mounts=True),
}
MAY_MOUNT_BIT = 21  # CAP_SYS_ADMIN

# Files whose tests cost seconds each: processes, API servers, sockets. `make check` leaves them to `make test`; a single test says so by its marker.
THOROUGH = (
    "tests/charts/test_conformance.py",
    "tests/charts/test_operator.py",
    "tests/charts/test_release.py",
    "tests/charts/test_rendering.py",
    "tests/charts/test_rights.py",
    "tests/cli/test_commands.py",
    "tests/e2e/test_bad_input.py",
    "tests/e2e/test_clients.py",
    "tests/execution/test_faults.py",
    "tests/execution/test_latch_scenarios.py",
    "tests/execution/test_live_limits.py",
    "tests/execution/test_rebuilding.py",
    "tests/execution/test_thin_path.py",
    "tests/execution/test_wire.py",
    "tests/faults/test_message_server_tls.py",
    "tests/faults/test_message_servers.py",
    "tests/faults/test_rolling_update.py",
    "tests/faults/test_secrets.py",
    "tests/faults/test_tls.py",
    "tests/ingestion/test_frames.py",
    "tests/ingestion/test_with_simulator.py",
    "tests/operator/test_objects_on_api_server.py",
    "tests/operator/test_reconcile.py",
    "tests/operator/test_recorded_days_in_a_pod.py",
    "tests/operator/test_resource.py",
    "tests/operator/test_watching.py",
    "tests/promises/test_caches.py",
    "tests/simulator/test_alpaca_rest.py",
    "tests/simulator/test_alpaca_streams.py",
    "tests/simulator/test_edge.py",
    "tests/simulator/test_faults.py",
    "tests/simulator/test_market.py",
    "tests/simulator/test_market_wires.py",
    "tests/simulator/test_own_recording.py",
    "tests/simulator/test_player.py",
    "tests/simulator/test_server.py",
    "tests/world/test_journal_check.py",
    "tests/world/test_learning_days.py",
    "tests/world/test_learning_job.py",
    "tests/world/test_learning_proof.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.partition("::")[0] in THOROUGH:
            item.add_marker(pytest.mark.thorough)


def absence(marker: str) -> str | None:
    """Why tests with this marker cannot run here, or None when they can."""
    need = NEEDS[marker]
    if need.library:
        return None if importlib.util.find_spec(need.library) is not None else f"{need.library} is not installed; {need.remedy}"
    if need.packages and (os.geteuid() != 0 or packages.lacking(need.packages)):
        return f"needs root and the packages {', '.join(packages.lacking(need.packages)) or '(all here)'}; {need.remedy}"
    if need.built:
        return build.missing(need.built, need.remedy)
    if need.path() is None:
        return f"no {' or '.join(need.programs)} here; {need.remedy}"
    if need.mounts and not may_mount():
        return f"no file system can be mounted here; {need.remedy}"
    return None


def may_mount() -> bool:
    """Whether the kernel lets this process mount file systems; where there is no /proc nobody knows, so no."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii", errors="replace").splitlines() if status.exists() else []
    effective = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> MAY_MOUNT_BIT & 1)


def program(marker: str) -> str:
    path = NEEDS[marker].path()
    assert path is not None, f"{absence(marker)} (and mark the test with @pytest.mark.{marker})"
    return path


@pytest.fixture(scope="session")
def nats_server_program() -> str:
    """The path of the real nats-server; for tests marked `nats`."""
    return program("nats")


@pytest.fixture(scope="session")
def redis_server_program() -> str:
    """The path of the real redis-server; for tests marked `redis`."""
    return program("redis")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, need in NEEDS.items():
        if item.get_closest_marker(marker) is None:
            continue
        reason = absence(marker)
        if reason is None:
            continue
        if IN_CI and need.demanded_in_ci:
            pytest.fail(f"CI=true demands it: {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def logging_left_as_it_was() -> Iterator[None]:
    """Logging that stays configured writes to the captured stream of a test that has ended, and breaks whichever test logs next."""
    before = dict(structlog.get_config())
    yield
    if structlog.get_config() != before:
        structlog.reset_defaults()
        pytest.fail("this test left structlog configured: what it called must end with tradingsystem.telemetry.logs.close()")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "torch: needs PyTorch, the extra `learn`, which no other test asks for")
    config.addinivalue_line("markers", "compiler: needs a C compiler, for stand-ins of libraries that a real program loads")
    config.addinivalue_line("markers", "tmpfs: fills a file system of its own")
    config.addinivalue_line("markers", "cluster: needs a real Kubernetes API server, built by `make cluster`")
    config.addinivalue_line("markers", "pods: needs a real cluster with a node, which root builds with `make cluster`")
    config.addinivalue_line("markers", "core: of those with pods, the shortest way through all of it, on one cluster (make e2e CORE=1)")
    config.addinivalue_line("markers", "kwok: needs kwok and a control plane, built by `python -m tests.cluster.run build --kwok`")
    config.addinivalue_line("markers", f"charts: needs helm, kubeconform and kube-score, built by `{build.TOOLS_COMMAND}`")
    config.addinivalue_line("markers", f"workflows: needs actionlint, built by `{build.TOOLS_COMMAND}`")
    hypothesis.settings.register_profile("here", print_blob=True, deadline=None)
    hypothesis.settings.register_profile("ci", print_blob=True, deadline=None, derandomize=True, database=None)
    hypothesis.settings.load_profile("ci" if IN_CI else "here")
    if IN_CI or config.getoption("--hypothesis-seed", default=None) is not None:
        return
    # Set before xdist starts its workers, which inherit it: one seed for the whole run.
    seed = int(os.environ.setdefault(SEED_VARIABLE, str(secrets.randbits(32))))
    hypothesis.core.global_force_seed = seed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if IN_CI:
        terminalreporter.write_line("hypothesis: profile ci, examples derived from the tests (derandomize)")
        return
    given = config.getoption("--hypothesis-seed", default=None)
    seed = given if given is not None else os.environ[SEED_VARIABLE]
    terminalreporter.write_line(f"hypothesis: the same examples again with --hypothesis-seed={seed}")
