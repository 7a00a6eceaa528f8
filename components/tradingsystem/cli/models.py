"""``tradingsystem models``: the versions of a store, what is wrong with them, how they differ, which one serves, and making room."""

from __future__ import annotations

import difflib
import math
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tradingsystem.cli.models_acts import promote, rollback
from tradingsystem.cli.models_engine import build_engine
from tradingsystem.cli.models_stored import stored
from tradingsystem.cli.printing import numbers, print_json
from tradingsystem.domain.errors import InvalidInput, TryAgain

if TYPE_CHECKING:
    from tradingsystem.bundles.bundle import Bundle
    from tradingsystem.bundles.manifest import Manifest
    from tradingsystem.cli.models_roles import Roles
    from tradingsystem.world.model_versions import Compared, Listed

Store = Annotated[
    Path | None, typer.Option("--store", help="Folder of model versions; unless given the running system's, else the package's own.")
]
System = Annotated[str | None, typer.Option("--system", help="Whose store, when several systems run.")]
Json = Annotated[bool, typer.Option("--json", help="The same as JSON.")]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Model versions: what there is, what serves, what is wrong, making room.", no_args_is_help=True, rich_markup_mode=None
    )
    group.callback()(_nothing)
    group.command("list")(list_versions)
    group.command("show")(show)
    group.command("verify")(verify)
    group.command("diff")(diff)
    group.command("promote")(promote)
    group.command("rollback")(rollback)
    group.command("pin")(pin)
    group.command("gc")(collect)
    group.command("stored")(stored)
    group.command("build-engine")(build_engine)
    application.add_typer(group, name="models")


def _nothing() -> None:
    """Model versions: what there is, what serves, what is wrong, making room."""


def list_versions(*, store: Store = None, system: System = None, as_json: Json = False) -> None:
    """List every version with its quality on later data, and whether it may serve or why not. Log loss stands against that of the base rate alone.

    Verified here means signature, digests and features; `models verify` also runs the graphs.

    Example: tradingsystem models list --store models
    """
    from tradingsystem.world.model_versions import check_store, listed

    place = _place(store, system)
    check_store(place)
    found = list(listed(place))
    roles = _roles(place)
    if as_json:
        print_json([_plain(one, roles) for one in found])
        return
    table = Table(box=None)
    for name in ("", "standing", "created", "log loss", "AUC", "valid until", "size"):
        table.add_column(name, no_wrap=name in {"standing", "created", "log loss", "AUC", "size"})
    for one in found:
        table.add_row(str(one.version), _standing(one, roles), *_figures(one.manifest), f"{one.size_bytes / 1000:,.0f} kB")
    console = _console()
    console.print(f"{place}", markup=False)
    console.print(table)
    for one in found:
        if one.reason:
            console.print(f"{one.version} may not serve: {one.reason}", markup=False)
    for role in roles:
        for version, reason in sorted(role.refused.items()):
            console.print(f"{version} does not serve at {role.system}: {reason}", markup=False)
        for note in role.notes:
            console.print(f"{role.system}: {note}", markup=False)


def show(
    version: Annotated[int, typer.Argument(min=1, help="The version.", metavar="VERSION")],
    *,
    store: Store = None,
    system: System = None,
    as_json: Json = False,
) -> None:
    """Show all that a version says of itself: recipe, weights, calibration, quantisation, and what it shows for itself against the one before it.

    Example: tradingsystem models show 3 --store models
    """
    from tradingsystem.world.learning_store import version_of
    from tradingsystem.world.model_versions import check_store

    place = _place(store, system)
    check_store(place)
    bundle = version_of(place, version, None)
    if as_json:
        print_json({"manifest": bundle.manifest, "evidence": _evidence(bundle)})
        return
    table = Table(box=None, show_header=False)
    for name, value in (*_told(bundle.manifest), *_evidence(bundle).items()):
        table.add_row(name, str(value))
    _console().print(table)


def verify(
    versions: Annotated[list[int] | None, typer.Argument(min=1, help="The versions; all unless given.", metavar="[VERSION]...")] = None,
    *,
    store: Store = None,
    system: System = None,
) -> None:
    """Check digests, signature, features, the graphs' operators, and the answers to the golden rows, in this process.

    Status 1 when a version may not serve; each fault is named with its file.

    Example: tradingsystem models verify --store models
    """
    from tradingsystem.process.serving import versions_in
    from tradingsystem.world.model_versions import check_store, faults

    place = _place(store, system)
    check_store(place)
    console = _console()
    failed = False
    for version in track(versions or versions_in(place), "verify", console=console, transient=True, disable=not console.is_terminal):
        found = faults(place, version)
        failed = failed or bool(found)
        console.print(f"{version}: {'may NOT serve' if found else 'as it was signed, and answers as it did'}", markup=False)
        for fault in found:
            console.print(f"  {fault.refusal.value}: {fault.file}: {fault.reason}", markup=False)
    if failed:
        raise typer.Exit(1)


def diff(
    first: Annotated[int, typer.Argument(min=1, help="The version that is compared with.", metavar="A")],
    second: Annotated[int, typer.Argument(min=1, help="The other one.", metavar="B")],
    *,
    store: Store = None,
    system: System = None,
    as_json: Json = False,
) -> None:
    """Show how B differs from A: what their manifests say, weights and quality included, and what both answer to A's golden rows.

    Example: tradingsystem models diff 1 3 --store models
    """
    from tradingsystem.world.model_versions import check_store, compared

    place = _place(store, system)
    check_store(place)
    found = compared(place, first, second)
    if as_json:
        print_json({"fields": {name: {"first": one, "second": other} for name, one, other in found.fields}, "answers": found.answers})
        return
    console = _console()
    table = Table("", str(first), str(second), box=None)
    for row in found.fields:
        table.add_row(*row)
    console.print(table if found.fields else "their manifests say the same")
    console.print(_answers(found, first), markup=False)


def pin(
    version: Annotated[int, typer.Argument(min=0, help="The version that must serve; 0 takes the pin off.", metavar="VERSION")],
    manifest: Annotated[Path, typer.Argument(help="The resource, YAML or JSON.", metavar="MANIFEST")],
    *,
    write: Annotated[bool, typer.Option("--write", help="Write the edit into MANIFEST; all else in it stays, comments too.")] = False,
    store: Annotated[Path | None, typer.Option("--store", help="Refuse a version that may not serve from this store.")] = None,
) -> None:
    """Print the edit of MANIFEST that pins VERSION, and what applies it here and in a cluster. Nothing is written without --write.

    Example: tradingsystem models pin 2 system.yaml --write
    """
    from tradingsystem.cli.reading import read_system
    from tradingsystem.spec.pinning import NotEditable, pinned

    resource = read_system(manifest)
    if store is not None and version:
        _may_serve(store, version)
    try:
        text = manifest.read_bytes().decode("utf-8")
        edited = pinned(text, version)
    except (NotEditable, UnicodeDecodeError) as error:
        raise InvalidInput(f"{manifest}: {error}") from error
    name, namespace = resource.metadata.name, resource.metadata.namespace
    if edited == text:
        typer.echo(f"{manifest}: {f'version {version} is pinned' if version else 'no version is pinned'} already")
    elif write:
        manifest.write_bytes(edited.encode())
        typer.echo(f"{manifest}: {f'version {version} is pinned' if version else 'the pin is off'}")
    else:
        before, after = text.splitlines(keepends=True), edited.splitlines(keepends=True)
        typer.echo("".join(difflib.unified_diff(before, after, str(manifest), str(manifest))).rstrip("\n"))
        typer.echo(f"\nWrite it: tradingsystem models pin {version} {manifest} --write")
    patch = msgspec.json.encode({"spec": {"models": {"pinnedVersion": version}}}).decode()
    typer.echo(f"Here:         tradingsystem apply {manifest}")
    typer.echo(f"In a cluster: kubectl patch tradingsystem {name} --namespace {namespace or 'default'} --type merge --patch '{patch}'")


def collect(
    *,
    keep: Annotated[int, typer.Option("--keep", min=1, help="How many of the newest versions stay.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which would go.")] = False,
    pinned: Annotated[
        list[int] | None, typer.Option("--pinned", min=1, help="A version that a manifest pins, and that stays. Again for more.")
    ] = None,
    store: Store = None,
    system: System = None,
) -> None:
    """Remove the oldest versions. Those that serve, served before, are pinned or on trial always stay, and so does the newest.

    What runs on this machine is asked; a store that other machines use is theirs to say: name their pins with --pinned. A system that does not answer
    is in the way, and nothing is removed.

    Example: tradingsystem models gc --keep 10 --dry-run --store models
    """
    from tradingsystem.bundles.store import collectable, remove
    from tradingsystem.cli.models_roles import roles_in
    from tradingsystem.process.serving import SHIPPED_MODELS, versions_in
    from tradingsystem.world.model_versions import check_store

    place = _place(store, system)
    check_store(place)
    if place.resolve() == SHIPPED_MODELS.resolve():
        raise InvalidInput(f"{place}: the package's own versions belong to the package; name another store with --store")
    protected = {*(pinned or []), *(version for roles in roles_in(place) for version in roles.protected)}
    present = versions_in(place)
    chosen = collectable(present, keep, protected)
    gone = chosen if dry_run else remove(place, chosen) if chosen else ()
    stays = [version for version in present if version not in gone]
    console = _console()
    console.print(f"{'would remove' if dry_run else 'removed'}: {numbers(gone)}", markup=False)
    console.print(f"stays: {numbers(stays)}", markup=False)
    if needed := [version for version in stays[:-keep] if version in protected]:
        console.print(f"older than the newest {keep}, and needed: {numbers(needed)}", markup=False)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _place(store: Path | None, system: str | None) -> Path:
    from tradingsystem.cli.models_roles import store_of

    return store_of(store, system)


def _roles(place: Path) -> list[Roles]:
    """What serves; when a running system does not say it, that is said and the list goes on."""
    from tradingsystem.cli.models_roles import roles_in

    try:
        return roles_in(place)
    except TryAgain as error:
        typer.echo(f"note: {error}", err=True)
        return []


def _may_serve(store: Path, version: int) -> None:
    from tradingsystem.world.model_versions import check_store, faults

    check_store(store)
    if found := faults(store, version):
        why = "\n".join(f"  {fault.refusal.value}: {fault.file}: {fault.reason}" for fault in found)
        raise InvalidInput(f"version {version} may not serve, and is not pinned:\n{why}")


def _figures(manifest: Manifest | None) -> tuple[str, ...]:
    if manifest is None:
        return ("",) * 4
    metrics = manifest.metrics
    return (
        manifest.created,
        f"{metrics.log_loss:.4f} / {metrics.log_loss_base:.4f}",
        f"{metrics.area_under_curve:.3f}",
        _valid_until(manifest),
    )


def _valid_until(manifest: Manifest) -> str:
    if not manifest.valid_until:
        return "in simulation" if manifest.simulated else ""
    expired = manifest.valid_until < datetime.now(UTC).date().isoformat()
    return f"{manifest.valid_until}{' (over)' if expired else ''}"


def _standing(one: Listed, roles: list[Roles]) -> str:
    words = [word for role in roles for word in role.of(one.version)]
    return "; ".join([*words, "may NOT serve" if one.reason else "verified"])


def _plain(one: Listed, roles: list[Roles]) -> dict[str, Any]:
    manifest = one.manifest
    told: dict[str, Any] = {
        "version": one.version,
        "verified": not one.reason,
        "reason": one.reason,
        "roles": [word for role in roles for word in role.of(one.version)],
        "refusedAt": {role.system: role.refused[one.version] for role in roles if one.version in role.refused},
        "sizeBytes": one.size_bytes,
    }
    if manifest is not None:
        told |= {
            "created": manifest.created,
            "dataKind": manifest.training_data_kind,
            "members": manifest.members,
            "logLoss": manifest.metrics.log_loss,
            "logLossBase": manifest.metrics.log_loss_base,
            "areaUnderCurve": manifest.metrics.area_under_curve,
            "int8Agreement": manifest.quantisation.sign_agreement,
            "validUntil": manifest.valid_until,
        }
    return told


def _told(manifest: Manifest) -> list[tuple[str, str]]:
    metrics, calibration, quantisation = manifest.metrics, manifest.calibration, manifest.quantisation
    members = zip(manifest.members, manifest.weights, metrics.member_log_loss, strict=True)
    deviations = (math.sqrt(calibration.variance_slope), math.sqrt(calibration.variance_intercept))
    return [
        ("version", str(manifest.version)),
        ("created", f"{manifest.created}, code {manifest.code_version}"),
        ("made by", manifest.identity or "no job"),
        ("trained on", f"{manifest.training_data_kind} data, sha256 {manifest.training_data_sha256}"),
        ("features", manifest.feature_schema),
        ("valid until", _valid_until(manifest)),
        ("label", f"+{manifest.target_basis_points} before -{manifest.stop_basis_points} basis points in {manifest.horizon_seconds:,} s"),
        *((name, f"weight {weight:.4f}, alone log loss {loss:.4f}") for name, weight, loss in members),
        ("quality", f"{metrics.rows:,} later rows, base rate {metrics.base_rate:.4f}"),
        ("  log loss", f"{metrics.log_loss:.5f}, of the base rate {metrics.log_loss_base:.5f}"),
        ("  AUC", f"{metrics.area_under_curve:.4f}, top decile reaches the target in {metrics.top_decile_hit_rate:.2%}"),
        ("calibration", f"{calibration.rows:,} rows, Brier {calibration.brier:.5f}"),
        ("  slope", f"{calibration.slope:.5f}, standard error {deviations[0]:.5f}"),
        ("  intercept", f"{calibration.intercept:.5f}, standard error {deviations[1]:.5f}"),
        ("INT8 against FP32", f"{quantisation.rows:,} rows, rank correlation {quantisation.rank_correlation:.6f}"),
        ("  agreement", f"{quantisation.sign_agreement:.4%}, {quantisation.decisions_changed:,} decisions changed"),
        ("  differ at most by", f"{quantisation.probability_error_max:.5f}"),
        *([("  entries changed", f"{quantisation.entries_changed:,}")] if quantisation.calibration_rows else []),
        *((f"  {one.rows:,} rows at once", f"{one.int8_us:.1f} us, FP32 {one.float_us:.1f} us") for one in quantisation.latency),
    ]


def _evidence(bundle: Bundle) -> dict[str, Any]:
    evidence = bundle.evidence
    if evidence is None:
        return {"evidence": "none: only a person can promote it"}
    differences = [block.challenger_return_basis_points - block.champion_return_basis_points for block in evidence.blocks]
    return {
        "evidence": f"against version {evidence.champion}, {evidence.data_kind} data",
        "blocks": len(evidence.blocks),
        "blocks with trades": sum(block.trades > 0 for block in evidence.blocks),
        "mean difference, basis points a block": round(statistics.fmean(differences), 4) if differences else 0.0,
        "trials": evidence.trials,
        "deflated Sharpe": evidence.deflated_sharpe,
    }


def _answers(found: Compared, first: int) -> str:
    answers = found.answers
    if answers is None:
        return f"No answers are compared: version {first} has no golden rows, or the other reads other features."
    return (
        f"On the {answers.rows:,} golden rows of {first}: rank correlation {answers.rank_correlation:.4f}, {answers.decisions_changed:.2%} of decisions"
        f" at 0.5 changed, largest difference {answers.difference_max:.4f}"
    )
