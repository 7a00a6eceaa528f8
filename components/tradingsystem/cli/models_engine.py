"""``tradingsystem models build-engine``: TensorRT's compiled form of a version, for the GPU of the machine that it is typed on."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tradingsystem.cli.message_server import CaFile, LoginPrefix, Replicas
from tradingsystem.cli.printing import print_json
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.messages.server import VOLUME_BYTES, ServerAddress

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tradingsystem.bundles.bundle import Bundle
    from tradingsystem.bundles.engine_plan import EngineRecord
    from tradingsystem.interfaces import EngineStore
    from tradingsystem.process.engine_stores import ObjectStores


def build_engine(
    *,
    models: Annotated[Path | None, typer.Option("--models", help="Store of model versions.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where engines lie, each in a folder named by its key.")] = None,
    version: Annotated[int, typer.Option("--version", min=0, help="The version. 0: the newest that may serve.")] = 0,
    floating: Annotated[bool, typer.Option("--float", help="Of the FP32 graph instead of the INT8 one.")] = False,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", help="Key that signs the engine. Without: the release's for a version trained on simulated data, else the system's."
        ),
    ] = None,
    nats_url: Annotated[
        str, typer.Option("--nats-url", help="Message server whose object stores give the version and take the engine, instead of folders.")
    ] = "",
    nats_replicas: Replicas = 1,
    nats_login_prefix: LoginPrefix = "",
    nats_ca_file: CaFile = None,
    system: Annotated[str, typer.Option("--system", help="The system's name, with --nats-url, or whose secret signs.")] = "",
    password_file: Annotated[Path | None, typer.Option("--password-file", help="File of the password of its user engine.")] = None,
    models_keys_file: Annotated[
        Path | None, typer.Option("--models-keys-file", help="Public keys that verify versions from there, beside the release's.")
    ] = None,
    secrets_folder: Annotated[Path | None, typer.Option("--secrets-folder", help="Where a pod's secrets are mounted.")] = None,
    journal_volume_bytes: Annotated[
        int, typer.Option("--journal-volume-bytes", min=1, help="What the message server's volume holds, for a store that has to be made.")
    ] = VOLUME_BYTES,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Print what would be built, and build nothing. Needs neither GPU nor TensorRT.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Compile a version's fused graph with TensorRT for this machine's GPU, ask it the golden vectors, sign it, and put it where engines are kept.

    From folders into a folder (--models, --out), or on a cluster's GPU node from the object store of its message server into the one of engines
    (--nats-url). An engine belongs to its graph, this GPU and this TensorRT: build it on the node that serves it, with the server's TensorRT. One that is
    there already is not built again. Exit 0: it is there. 2: no GPU, no TensorRT, or TensorRT's answer was not the graph's; nothing was changed.

    Example: tradingsystem models build-engine --models models --version 3 --out engines --plan
    """
    from tradingsystem.process.engine_stores import engines_in, object_stores
    from tradingsystem.process.private_files import read_password

    console = Console(highlight=False, soft_wrap=True)
    if nats_url and (models or out or only_plan):
        raise InvalidInput(
            "--nats-url: versions come from its object store and the engine goes there; leave out --models, --out and --plan"
        )
    if nats_url:
        if not system:
            raise InvalidInput("--nats-url: say with --system whose object stores they are")
        password = read_password(password_file) if password_file is not None else ""
        server = ServerAddress(nats_url, nats_replicas, nats_login_prefix, nats_ca_file)
        reached = object_stores(server, system, password, journal_volume_bytes, models_keys_file)
        told = asyncio.run(_travelled(reached, system, version, key, secrets_folder, int8=not floating))
        _print_built(console, *told, f"object store of {system}", as_json=as_json)
        return
    if models is None or out is None:
        raise InvalidInput(
            "say with --models where versions are and with --out where the engine goes, or with --nats-url which message server has both"
        )
    bundle = _bundle_in(models, version)
    if only_plan:
        _print_plan(console, bundle, out, int8=not floating, as_json=as_json)
        return
    told = asyncio.run(_built(engines_in(out), bundle, models, _signing(bundle, key, system, secrets_folder), int8=not floating))
    _print_built(console, *told, str(out), as_json=as_json)


def _bundle_in(models: Path, version: int) -> Bundle:
    """The version, or the newest that may serve. Raises ``InvalidInput``, ``NoBundle``."""
    from tradingsystem.process.serving import choose_in
    from tradingsystem.world.learning_store import version_of
    from tradingsystem.world.model_versions import check_store

    check_store(models)
    return version_of(models, version, None) if version else choose_in(models, 0).bundle


async def _travelled(
    reached: AbstractAsyncContextManager[ObjectStores], system: str, version: int, key: Path | None, secrets: Path | None, *, int8: bool
) -> tuple[EngineRecord, bool]:
    async with reached as stores:
        folder = await stores.folder_with(version)
        bundle = _bundle_in(folder, version)
        return await _built(stores.engines, bundle, folder, _signing(bundle, key, system, secrets), int8=int8)


async def _built(store: EngineStore, bundle: Bundle, models: Path, key: Ed25519PrivateKey, *, int8: bool) -> tuple[EngineRecord, bool]:
    from tradingsystem.process.engines import build_engine as build
    from tradingsystem.process.serving import trusted_in

    with Console(stderr=True).status("") as status:
        return await build(
            store, bundle, status.update, int8=int8, key=key, trusted=trusted_in(models, key.public_key().public_bytes_raw())
        )


def _signing(bundle: Bundle, key: Path | None, system: str, secrets: Path | None) -> Ed25519PrivateKey:
    """The key as given, else the release's, which vouches for what was trained on simulated data, else the system's. Raises ``NotAuthorized``."""
    from tradingsystem.world.learning_store import signing_key
    from tradingsystem.world.recipe import recipe_key

    if key is None and bundle.manifest.simulated:
        return recipe_key()
    return signing_key(key, system, secrets)


def _print_built(console: Console, record: EngineRecord, existed: bool, where: str, *, as_json: bool) -> None:
    from tradingsystem.bundles.engine_plan import engine_name

    name = engine_name(record.plan, record.target)
    if as_json:
        print_json({"name": name, "existed": existed, "record": record})
        return
    shown = f"{len(record.layers.int8)} of {record.layers.count} layers are INT8" if record.layers.int8 else "no layer is INT8"
    console.print(f"{'there already' if existed else 'built'}: {name} in {where}", markup=False)
    console.print(f"{record.engine_bytes:,} bytes for {record.target.gpu}, TensorRT {record.target.tensorrt}; {shown}", markup=False)
    console.print(f"golden vectors: differ by at most {record.golden_difference:.2e}", markup=False)


def _print_plan(console: Console, bundle: Bundle, out: Path, *, int8: bool, as_json: bool) -> None:
    from tradingsystem.bundles.engine_plan import engine_name, engine_plan, key_of
    from tradingsystem.process.engines import target_here

    plan, target, missing = engine_plan(bundle, int8=int8), None, ""
    try:
        target = target_here()
    except InvalidInput as error:
        missing = str(error)
    if as_json:
        print_json({"plan": plan, "target": target, "missing": missing, "key": key_of(plan, target) if target else ""})
        return
    rows = [
        ("engine of", f"{plan.model}, version {plan.bundle_version}, {'INT8 by the Q/DQ of its graph' if plan.int8 else 'FP32'}"),
        ("graph", f"sha256 {plan.graph_sha256}"),
        ("network", f"{'strongly typed' if plan.strongly_typed else 'weakly typed'}, {', '.join(plan.flags_off)} off"),
        *((f"input {name}", f"float32 [rows, {width}]") for name, width in plan.inputs.items()),
        *(
            (f"profile {place}", f"{one.rows_min:,} to {one.rows_max:,} rows, best at {one.rows_best:,}")
            for place, one in enumerate(plan.profiles)
        ),
        ("workspace", f"at most {plan.workspace_bytes // 2**20} MiB, optimisation level {plan.optimisation_level}"),
        ("plan version", str(plan.plan_version)),
    ]
    if target is None:
        rows += [("key", "known where it is built: it names GPU and TensorRT"), ("cannot build here", missing)]
    else:
        folder = out / engine_name(plan, target)
        rows += [
            (
                "for",
                f"{target.gpu}, compute capability {target.compute_capability}, {target.multiprocessors} multiprocessors, TensorRT {target.tensorrt}",
            ),
            ("key", key_of(plan, target)),
            ("would be" if not folder.exists() else "is there", str(folder)),
        ]
    for name, value in rows:
        console.print(f"{name:<17}  {value}", markup=False)
