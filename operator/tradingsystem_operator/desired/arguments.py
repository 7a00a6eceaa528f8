"""The command line of a service in its pod: the same flags as on one machine, with a pod's places.

Only the simulator is told to listen beyond the loopback for venues, and every service for its metrics; who may reach them is the network policies' business.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from tradingsystem.messages.server import login_prefix
from tradingsystem.spec import Mode, Plan, Workload
from tradingsystem.spec.inference import TritonPlacement
from tradingsystem.spec.simulation import MarketSource
from tradingsystem.spec.slices import SimulatorSlice, TritonSlice
from tradingsystem_operator.desired import places
from tradingsystem_operator.desired.configuration import SLICE_KEY
from tradingsystem_operator.objects import name_of

EVERYWHERE = "0.0.0.0"
OWN_POD = "127.0.0.1"
ASKS_TRITON = frozenset({"filter", "models"})
LOADS_TRITON = "models"
LOADS_MODELS = frozenset({"filter", "models"})
"""Who has versions of models in a folder of its own, filled from the object store."""


def command_line(workload: Workload, made: Plan) -> list[str]:
    """Program and arguments."""
    flags = {
        "slice-file": places.SLICE_FOLDER / SLICE_KEY,
        "boot-hash": made.boot_hash,
        "build": made.build,
        **_server(made),
        "password-file": places.PASSWORD_FILE,
        "metrics-host": EVERYWHERE,
        "metrics-port": workload.port("metrics"),
        "state-folder": places.STATE_FOLDER,
        "run-folder": places.RUN_FOLDER,
        "secrets-folder": places.SECRETS_FOLDER if workload.secrets else "",
        "secrets-mounted": bool(workload.secrets),
        "venues": _venues(workload, made),
        "capture-file": places.CAPTURE_FILE if workload.service == "simulator" else "",
        "data-folder": _recorded(workload),
        "models-folder": places.MODELS_FOLDER if workload.service in LOADS_MODELS else "",
        "models-from-nats": workload.service in LOADS_MODELS,
        "models-keys-file": places.MODEL_KEYS_FILE if workload.service in LOADS_MODELS and has_own_keys(made) else "",
        "journal-volume-bytes": made.journal_volume_bytes,
        **_triton(workload, made),
    }
    given = ["tradingsystem", "run", workload.service]
    for name, value in flags.items():
        if value is True:
            given.append(f"--{name}")
        elif value is not False and value != "":
            given += [f"--{name}", str(value)]
    return given


def has_own_keys(made: Plan) -> bool:
    """Whether versions are signed by a key of the system's own. Learning in Simulation signs with the release's, which vouches for simulated data alone."""
    return made.mode is not Mode.SIMULATION


def learning_command(workload: Workload, made: Plan) -> list[str]:
    """Program and arguments of a learning job, which is no service: it ends by itself and speaks with the object store alone."""
    flags = {
        "slice-file": places.SLICE_FOLDER / SLICE_KEY,
        "filter-slice-file": places.FILTER_SLICE_FOLDER / SLICE_KEY,
        "secrets-folder": places.SECRETS_FOLDER if workload.secrets else "",
        **_server(made),
        "password-file": places.PASSWORD_FILE,
        "journal-volume-bytes": made.journal_volume_bytes,
        "runs": places.RECORDINGS_FOLDER,
        "store": places.MODELS_FOLDER,
        "report": places.MODELS_FOLDER / "reports",
    }
    command = ["tradingsystem", "learn", workload.name.partition("-")[2]]
    return command + [word for name, value in flags.items() if value for word in (f"--{name}", str(value))]


def engine_command(version: int, made: Plan, *, int8: bool) -> list[str]:
    """Program and arguments of the job that compiles a version for the GPU of its node."""
    flags = {
        **_server(made),
        "system": made.system,
        "password-file": places.PASSWORD_FILE,
        "journal-volume-bytes": made.journal_volume_bytes,
        "models-keys-file": places.MODEL_KEYS_FILE if has_own_keys(made) else "",
        "secrets-folder": places.SECRETS_FOLDER if has_own_keys(made) else "",
        "version": version,
    }
    command = ["tradingsystem", "models", "build-engine", *([] if int8 else ["--float"])]
    return command + [word for name, value in flags.items() if value for word in (f"--{name}", str(value))]


def triton_of(made: Plan) -> Workload | None:
    """The inference server; None where models run in process."""
    return next((workload for workload in made.workloads if workload.service == "triton"), None)


def is_sidecar(made: Plan) -> bool:
    """Whether the inference server is a container of the filter's pod."""
    server = triton_of(made)
    return server is not None and isinstance(server.slice, TritonSlice) and server.slice.inference.placement is TritonPlacement.SIDECAR


def shows_key(workload: Workload, made: Plan) -> bool:
    """Whether it uses what Triton keeps behind the key: loading versions, and announcing shared memory."""
    return triton_of(made) is not None and (workload.service == LOADS_TRITON or (workload.service == "filter" and is_sidecar(made)))


def backend_of(server: Workload) -> str:
    """Who runs the graphs there that have no engine: onnxruntime on a GPU, the wrapper around it of the server for a CPU."""
    return "onnxruntime" if server.gpus else "python"


def _triton(workload: Workload, made: Plan) -> dict[str, object]:
    """Where the filter asks; and for whoever changes what is loaded there, the key and who runs the graphs."""
    server = triton_of(made)
    if server is None or workload.service not in ASKS_TRITON:
        return {}
    host = OWN_POD if workload.service == "filter" and is_sidecar(made) else name_of(made.system, "triton")
    told: dict[str, object] = {"triton": f"{host}:{server.port('grpc')}"}
    if shows_key(workload, made):
        told["triton-key-file"] = places.TRITON_KEY_FILE
    if workload.service != LOADS_TRITON:
        return told
    return told | {"triton-backend": backend_of(server), "engines-from-nats": server.gpus > 0}


def _server(made: Plan) -> dict[str, object]:
    """Where services find the message server, and how they speak to one that a person runs."""
    messaging = made.messaging
    if not messaging.external:
        return {"nats-url": f"nats://{name_of(made.system, 'nats')}:{made.workload('nats').port('client')}"}
    return {
        "nats-url": ",".join(messaging.urls),
        "nats-replicas": messaging.replicas,
        "nats-login-prefix": login_prefix(made.system),
        "nats-ca-file": places.AUTHORITIES_FILE if messaging.ca_secret_ref.name else "",
    }


def _venues(workload: Workload, made: Plan) -> str:
    """Where the simulated venues are; for the simulator itself, where it listens. Empty outside Simulation."""
    if made.mode is not Mode.SIMULATION:
        return ""
    host = EVERYWHERE if workload.service == "simulator" else name_of(made.system, "simulator")
    return f"http://{host}:{made.workload('simulator').port('venues')}"


def recorded_claim(workload: Workload) -> str:
    """The volume claim with the days that this service plays; empty when it plays none."""
    piece = workload.slice
    if not isinstance(piece, SimulatorSlice) or piece.simulation.source is not MarketSource.RECORDED:
        return ""
    return piece.simulation.data_claim_name


def _recorded(workload: Workload) -> PurePosixPath | str:
    """Where its days lie on that volume."""
    piece = workload.slice
    return places.RECORDED_FOLDER / piece.simulation.data if isinstance(piece, SimulatorSlice) and recorded_claim(workload) else ""
