"""From a Plan to what this machine needs to run it: folders, slices on disk, an assignment per service. Starts nothing."""

from __future__ import annotations

import shutil
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.interfaces import Bus
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.server import ServerAddress, StoreSizes
from tradingsystem.process import external_server
from tradingsystem.process.assignment import Assignment
from tradingsystem.process.connecting import connected, prepare_external, prepare_server
from tradingsystem.process.nats_server import NatsServer, NatsServerSettings, refuse_taken
from tradingsystem.process.private_files import read_password, write_private
from tradingsystem.process.secrets import Secrets, local_folder
from tradingsystem.process.state import RunningSystem, StateFolder
from tradingsystem.process.triton_server import TritonServerSettings, home
from tradingsystem.spec import Mode, Placement, Plan, Workload, WorkloadKind


@dataclass(frozen=True, slots=True)
class Happening:
    """Something a person watching wants to know: ``what`` is started, ready, ended, restarting, stopped."""

    workload: str
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LocalRun:
    """One run of one plan on this machine."""

    plan: Plan
    state: StateFolder
    folder: Path
    models_folder: Path | None = None
    data_folder: Path | None = None
    nats_sync_always: bool = True
    capture_everything: bool = False

    @property
    def services(self) -> tuple[Workload, ...]:
        """Our services, in start order."""
        return tuple(workload for workload in self.plan.workloads if workload.kind is WorkloadKind.SERVICE)

    @property
    def venues(self) -> str:
        """The simulator's address; empty outside Simulation."""
        return f"http://127.0.0.1:{self.plan.workload('simulator').port('venues')}" if self.plan.mode is Mode.SIMULATION else ""

    @property
    def lasting(self) -> StateFolder:
        """Where journal and service states are kept: beyond the run, except in Simulation, whose account and market end with the run too."""
        return StateFolder(self.folder) if self.plan.mode is Mode.SIMULATION else self.state

    def forget(self) -> None:
        """After an ordered end in Simulation: remove what only the running system needed, hundreds of megabytes; the recording stays."""
        if self.plan.mode is Mode.SIMULATION:
            for folder in (self.lasting.nats / "data", self.folder / "services"):
                shutil.rmtree(folder, ignore_errors=True)

    def nats(self) -> NatsServerSettings | None:
        """The message server of this run; None where a person runs one."""
        if self.plan.messaging.external:
            return None
        return NatsServerSettings(
            system=self.plan.system,
            folder=self.lasting.nats,
            port=self.plan.workload("nats").port("client"),
            volume_bytes=self.plan.journal_volume_bytes,
            sync_always=self.nats_sync_always,
        )

    @property
    def server(self) -> ServerAddress:
        """How the message server is reached."""
        if (own := self.nats()) is not None:
            return ServerAddress(own.url)
        return external_server.address(self.plan, local_folder())

    def password_file(self, user: str) -> Path:
        """Where that user's password stands."""
        own = self.nats()
        return own.password_file(user) if own is not None else external_server.password_file(self.plan, local_folder(), user)

    def triton(self) -> TritonServerSettings | None:
        """The inference server of this run; None where models run in process."""
        if not any(workload.service == "triton" for workload in self.plan.workloads):
            return None
        workload, folder = self.plan.workload("triton"), self.folder / "triton"
        return TritonServerSettings(
            repository=folder / "repository",
            folder=folder / "server",
            http_port=workload.port("http"),
            grpc_port=workload.port("grpc"),
            metrics_port=workload.port("metrics"),
        )

    def check(self) -> None:
        """Everything that can be known to fail before starting. Raises ``PortTaken``, ``InvalidInput`` or ``NotAuthorized`` with every problem."""
        if self.triton() is not None:
            home()
        refuse_taken({f"{workload.name} {port.name}": port.number for workload in self.plan.workloads for port in workload.ports})
        needs = dict.fromkeys(
            need for workload in self.services for need in workload.secrets
        )  # jobs do not run here, and their keys stay away
        missing = Secrets(local_folder()).missing((*needs, *external_server.needs(self.plan)))
        if missing:
            raise NotAuthorized(f"{len(missing)} of the keys that mode {self.plan.mode.value} needs", "; ".join(missing))

    def assignment(self, workload: Workload) -> Assignment:
        """What the process of that workload is told; writes its slice."""
        slices = self.folder / "slices"
        slices.mkdir(exist_ok=True, mode=0o700)
        slice_file = slices / f"{workload.name}.json"
        write_private(slice_file, workload.slice_json())
        server = self.server
        one_process = self.plan.placement is Placement.ONE_PROCESS
        triton = self.triton() if workload.service in {"filter", "models"} else None
        return Assignment(
            service=workload.service,
            slice_file=slice_file,
            boot_hash=self.plan.boot_hash,
            build=self.plan.build,
            nats_url=server.url,
            nats_replicas=server.replicas,
            nats_login_prefix=server.login_prefix,
            nats_ca_file=server.ca_file,
            password_file=self.password_file(workload.service),
            metrics_port=self.plan.workload("monitor").port("metrics") if one_process else workload.port("metrics"),
            state_folder=self.lasting.service(workload.name),
            run_folder=self.folder,
            secrets_folder=local_folder(),
            models_folder=self.models_folder,
            data_folder=self.data_folder if workload.service == "simulator" else None,
            halt_file=self.state.halt_file,
            venues=self.venues,
            log_file=self.log_file("system" if one_process else workload.name),
            capture_file=self.folder / "wire.jsonl" if workload.service == "simulator" else None,
            journal_volume_bytes=self.plan.journal_volume_bytes,
            triton=triton.address if triton else "",
            triton_key_file=triton.key_file if triton else None,
            capture_everything=self.capture_everything and workload.service == "simulator",
        )

    def own_server(self) -> NatsServer | None:
        """The message server that this run starts; None where a person runs one."""
        own = self.nats()
        return NatsServer(own, prepare_server) if own is not None else None

    async def prepare_external(self) -> None:
        """What the message server's own start would have made. Raises ``NotAuthorized``, ``TryAgain``, ``InvalidInput``."""
        sizes = StoreSizes.on_volume(self.plan.journal_volume_bytes)
        password = read_password(self.password_file("execution"))
        await prepare_external(self.server, self.plan.system, password, sizes, must_be_new=self.plan.mode is Mode.SIMULATION)

    def watching(self) -> AbstractAsyncContextManager[Bus]:
        """A bus as the person's user, for who watches the run."""
        return connected(self.server, self.plan.system, PERSON, read_password(self.password_file(PERSON)))

    def log_file(self, process: str) -> Path:
        """Where that process logs."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True, mode=0o700)
        return logs / f"{process}.log"

    def note(self, supervisor: int, pids: dict[str, int]) -> RunningSystem:
        """What other commands are told."""
        server = self.server
        return RunningSystem(
            system=self.plan.system,
            mode=self.plan.mode.value,
            placement=self.plan.placement.value,
            supervisor=supervisor,
            nats_url=server.url,
            nats_replicas=server.replicas,
            nats_login_prefix=server.login_prefix,
            nats_ca_file=str(server.ca_file or ""),
            person_password_file=str(self.password_file(PERSON)),
            run_folder=str(self.folder),
            venues=self.venues,
            ports={workload.name: {port.name: port.number for port in workload.ports} for workload in self.plan.workloads},
            pids=pids,
            halt_file=str(self.state.halt_file),
            models_folder=str(self.models_folder.resolve()) if self.models_folder is not None else "",
        )
