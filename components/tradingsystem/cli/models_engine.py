"""``tradingsystem models build-engine``: TensorRT's compiled form of a version, for the GPU of the machine that it is typed on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tradingsystem.cli.printing import print_json
from tradingsystem.domain.errors import InvalidInput

if TYPE_CHECKING:
    from tradingsystem.bundles.engine_plan import EnginePlan, Target


def build_engine(
    *,
    models: Annotated[Path, typer.Option("--models", help="Store of model versions.")],
    out: Annotated[Path, typer.Option("--out", help="Where engines lie, each in a folder named by its key.")],
    version: Annotated[int, typer.Option("--version", min=0, help="The version. 0: the newest that may serve.")] = 0,
    floating: Annotated[bool, typer.Option("--float", help="Of the FP32 graph instead of the INT8 one.")] = False,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Print what would be built, and build nothing. Needs neither GPU nor TensorRT.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Compile a version's fused graph with TensorRT for this machine's GPU, ask it the golden vectors, and put it into OUT with its layer report.

    An engine belongs to its graph, this GPU and this TensorRT: build it on the node that serves it, with the server's TensorRT. One that is there
    already is not built again. Exit 0: it is there. 2: no GPU, no TensorRT, or TensorRT's answer was not the graph's; nothing was changed.

    Example: tradingsystem models build-engine --models models --version 3 --out engines --plan
    """
    from tradingsystem.bundles.engine_plan import engine_plan
    from tradingsystem.process.engines import build_engine as build
    from tradingsystem.process.engines import target_here
    from tradingsystem.process.serving import choose_in
    from tradingsystem.world.learning_store import version_of
    from tradingsystem.world.model_versions import check_store

    check_store(models)
    bundle = version_of(models, version, None) if version else choose_in(models, 0).bundle
    console = Console(highlight=False, soft_wrap=True)
    if only_plan:
        target, missing = None, ""
        try:
            target = target_here()
        except InvalidInput as error:
            missing = str(error)
        _print_plan(console, engine_plan(bundle, int8=not floating), target, missing, out, as_json=as_json)
        return
    with Console(stderr=True).status("") as status:
        made = build(bundle, out, status.update, int8=not floating)
    record = made.record
    if as_json:
        print_json({"folder": str(made.folder), "existed": made.existed, "record": record})
        return
    shown = f"{len(record.layers.int8)} of {record.layers.count} layers are INT8" if record.layers.int8 else "no layer is INT8"
    console.print(f"{'there already' if made.existed else 'built'}: {made.folder}", markup=False)
    console.print(f"{record.engine_bytes:,} bytes for {record.target.gpu}, TensorRT {record.target.tensorrt}; {shown}", markup=False)
    console.print(f"golden vectors: differ by at most {record.golden_difference:.2e}", markup=False)


def _print_plan(console: Console, plan: EnginePlan, target: Target | None, missing: str, out: Path, *, as_json: bool) -> None:
    from tradingsystem.bundles.engine_plan import engine_name, key_of, timing_cache_name

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
            ("timing cache", str(out / timing_cache_name(target))),
            ("would be" if not folder.exists() else "is there", str(folder)),
        ]
    for name, value in rows:
        console.print(f"{name:<17}  {value}", markup=False)
