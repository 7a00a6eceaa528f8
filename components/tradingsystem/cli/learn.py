"""``tradingsystem learn``: from recorded runs to a signed candidate, or to the name of what was in the way."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tradingsystem.cli.message_server import CaFile, LoginPrefix, Replicas
from tradingsystem.domain.errors import InvalidInput, NotAuthorized, OutcomeUnknown, RequestRefused, TryAgain
from tradingsystem.messages.server import VOLUME_BYTES, ServerAddress

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tradingsystem.learning.backtest import Rules
    from tradingsystem.spec.ensemble import Ensemble
    from tradingsystem.spec.slices import FilterSlice
    from tradingsystem.world.learning_days import Days
    from tradingsystem.world.learning_job import Learned
    from tradingsystem.world.learning_transport import ObjectStore

_Found = TypeVar("_Found")
JOB_KEY_VARIABLE = "TRADINGSYSTEM_JOB_KEY"
RETRY = 1
WINDOW_SESSIONS = 5  # where no resource says it: the spec's default

Runs = Annotated[list[Path], typer.Option("--runs", help="Folder of recorded runs, as `up` and `demo` leave them. Again for more.")]
Store = Annotated[Path, typer.Option("--store", help="Folder of model versions; the candidate is published there.")]
System = Annotated[Path | None, typer.Option("--system", help="The resource: window, thresholds, and the filter's settings.")]
Key = Annotated[
    Path | None, typer.Option("--key", help="File of the private key, 64 hex digits; else the secret NAME-bundle-signing of --system.")
]
Hour = Annotated[str, typer.Option("--scheduled-at", help="The hour it was meant for, as 2026-03-02T23:30. One hour, one candidate.")]
Report = Annotated[Path, typer.Option("--report", help="Folder for the report.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder for what was read of recordings; STORE/.rows unless given.")]
Torch = Annotated[
    bool,
    typer.Option(
        "--torch", help="Fit the linear members by PyTorch (the extra `learn`): on the GPU when there is one, else on the processor."
    ),
]
SliceFile = Annotated[Path | None, typer.Option("--slice-file", hidden=True, help="In a pod, instead of --system.")]
FilterSliceFile = Annotated[Path | None, typer.Option("--filter-slice-file", hidden=True, help="In a pod, the filter's settings.")]
NatsUrl = Annotated[
    str,
    typer.Option(
        "--nats-url", help="Message server of a running system, nats://HOST:PORT: versions come from and go to its object store too."
    ),
]
PasswordFile = Annotated[Path | None, typer.Option("--password-file", help="File of the password of its user learning.")]
VolumeBytes = Annotated[int, typer.Option("--journal-volume-bytes", hidden=True, help="In a pod, what the message server's volume holds.")]
SecretsFolder = Annotated[Path | None, typer.Option("--secrets-folder", hidden=True, help="In a pod, where secrets are mounted.")]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Models from recorded runs: learned, held against the one that serves, signed, or the name of what was in the way.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("incremental")(incremental)
    group.command("retrain")(retrain)
    group.command("backtest")(backtest)
    group.command("prove")(prove)
    group.command("key")(key)
    application.add_typer(group, name="learn")


def incremental(
    *,
    runs: Runs,
    store: Store,
    system: System = None,
    key: Key = None,
    scheduled_at: Hour = "",
    report: Report = Path("reports"),
    cache: Cache = None,
    torch: Torch = False,
    slice_file: SliceFile = None,
    filter_slice_file: FilterSliceFile = None,
    secrets_folder: SecretsFolder = None,
    nats_url: NatsUrl = "",
    nats_replicas: Replicas = 1,
    nats_login_prefix: LoginPrefix = "",
    nats_ca_file: CaFile = None,
    password_file: PasswordFile = None,
    journal_volume_bytes: VolumeBytes = VOLUME_BYTES,
) -> None:
    """Learn from the newest sessions (learning.incremental.windowSessions) and from a sample, even over regimes, of the older ones.

    Publishes one candidate for its hour, with what it shows for itself on later data, and promotes nothing. Exit 0: a candidate, or a reason by name why
    this data gives none. 1: no key, or the store could not be written; again is worth trying.

    Example: tradingsystem learn incremental --system system.yaml --runs runs --store models
    """
    settings = _settings(system, slice_file, filter_slice_file)
    server = ServerAddress(nats_url, nats_replicas, nats_login_prefix, nats_ca_file)
    far = _object_store(server, settings.system, password_file, journal_volume_bytes)
    _learn("incremental", runs, store, settings, key, secrets_folder, _hour(scheduled_at), report, cache, far, torch=torch)


def retrain(
    *,
    runs: Runs,
    store: Store,
    system: System = None,
    key: Key = None,
    scheduled_at: Hour = "",
    report: Report = Path("reports"),
    cache: Cache = None,
    torch: Torch = False,
    slice_file: SliceFile = None,
    filter_slice_file: FilterSliceFile = None,
    secrets_folder: SecretsFolder = None,
    nats_url: NatsUrl = "",
    nats_replicas: Replicas = 1,
    nats_login_prefix: LoginPrefix = "",
    nats_ca_file: CaFile = None,
    password_file: PasswordFile = None,
    journal_volume_bytes: VolumeBytes = VOLUME_BYTES,
) -> None:
    """Learn from every session there is, from scratch. Otherwise as `learn incremental`.

    Example: tradingsystem learn retrain --system system.yaml --runs runs --store models --key keys/privateKey
    """
    settings = _settings(system, slice_file, filter_slice_file)
    server = ServerAddress(nats_url, nats_replicas, nats_login_prefix, nats_ca_file)
    far = _object_store(server, settings.system, password_file, journal_volume_bytes)
    _learn("retrain", runs, store, settings, key, secrets_folder, _hour(scheduled_at), report, cache, far, torch=torch)


def backtest(
    *,
    runs: Runs,
    store: Store,
    version: Annotated[int, typer.Option("--version", min=1, help="The version that is looked at.")],
    against: Annotated[int, typer.Option("--against", min=1, help="The version that it is held against.")] = 1,
    system: System = None,
    cache: Cache = None,
) -> None:
    """Let two versions decide on recorded days and print what each would have earned, with costs as they were and twice as dear.

    Sessions that a version was trained on flatter it. The look enters the ledger: the more looks at the same sessions, the less one good result is worth.

    Example: tradingsystem learn backtest --runs runs --store models --version 3 --against 1
    """
    from tradingsystem.world.learning_backtest import backtest as judge
    from tradingsystem.world.learning_store import gather, version_of

    settings = _settings(system, None, None)
    console = Console(highlight=False, soft_wrap=True)
    first, second = (version_of(store, number, None) for number in (against, version))
    found, data = _read(runs, cache or store / ".rows", settings.filter, console)
    gather(found, store)
    done = judge(data, first, second, settings.rules, store)
    table = Table("costs", "version", "trades", "reached the target", "basis points each", "in all", box=None)
    for one in done.traded:
        for number, traded in ((against, one.champion), (version, one.challenger)):
            shown = (f"{traded.hit_rate:.0%}", f"{traded.mean_basis_points:+.1f}") if traded.trades else ("", "")
            table.add_row(f"x {one.times:g}", str(number), str(traded.trades), *shown, f"{traded.sum_basis_points:+.1f}")
    console.print(table)
    console.print(
        f"{len(data.days)} sessions, {done.rows:,} rows; look {done.trials} at these sessions: {done.deflated:.2f} is the chance that version {version}"
        f" gains on {against} by more than luck shows among them"
    )


def prove(
    *,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=10_000, help="How many.")] = 100,
    first: Annotated[int, typer.Option("--first", min=0, help="The first seed.")] = 0,
) -> None:
    """Measure what the way to promotion lets through: candidates of known worth, judged by the real tests and the real gate.

    Worthless, overfit and leaked ones may pass in at most 5 % of the seeds, one that is better by a stated effect must in at least 80 %. Status 1: not so.

    Example: tradingsystem learn prove --seeds 100
    """
    from tradingsystem.world.learning_proof import SESSIONS, TRADES_A_SESSION, told
    from tradingsystem.world.learning_proof import prove as measure

    console = Console(highlight=False, soft_wrap=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{seeds} seeds", total=seeds)
        proofs = measure(range(first, first + seeds), lambda: progress.advance(task))
    table = Table("candidate", "promoted", "bound", "", box=None)
    for row in told(proofs):
        table.add_row(*row)
    console.print(table)
    console.print(f"Each over {SESSIONS} later sessions with {TRADES_A_SESSION} trades each. Drawn trades: it says nothing about profit.")
    if not all(one.holds for one in proofs):
        raise typer.Exit(RETRY)


def key(
    folder: Annotated[
        Path, typer.Argument(help="Where the two files go: privateKey and publicKey, the keys of the secret NAME-bundle-signing.")
    ],
) -> None:
    """Make the key that signs a system's models, once, and its public half, which verifies them. A key that is there is kept.

    Example: tradingsystem learn key keys
    """
    from tradingsystem.world.learning_store import make_keys

    public, made = make_keys(folder)
    Console(highlight=False, soft_wrap=True).print(
        f"{'made' if made else 'kept'}: {folder}; its public half is {public.hex()}", markup=False
    )


@dataclass(frozen=True, slots=True)
class _Settings:
    """What a resource says of learning; without one the defaults, and each run has to say itself what its filter ran with."""

    system: str
    window: int
    rules: Rules
    filter: FilterSlice | None
    better_probability_min_percent: int = 80
    simulated: bool = False  # whether the release's key signs where none is given


def _settings(system: Path | None, slice_file: Path | None, filter_slice_file: Path | None) -> _Settings:
    from tradingsystem.learning.backtest import Rules
    from tradingsystem.spec import Mode
    from tradingsystem.spec.load import load_file
    from tradingsystem.spec.slices import FilterSlice, LearningSlice, slice_of

    if slice_file is not None:
        piece = _decoded(slice_file, LearningSlice)
        own = _decoded(filter_slice_file, FilterSlice) if filter_slice_file is not None else None
        return _Settings(
            piece.system,
            piece.learning.incremental.window_sessions,
            _rules(piece.ensemble),
            own,
            piece.learning.promotion.better_probability_min_percent,
            piece.mode is Mode.SIMULATION,
        )
    if system is None:
        return _Settings("", WINDOW_SESSIONS, Rules(), None)
    resource = load_file(system)
    mine = slice_of("filter", resource)
    assert isinstance(mine, FilterSlice)
    spec = resource.spec
    return _Settings(
        resource.metadata.name,
        spec.learning.incremental.window_sessions,
        _rules(spec.ensemble),
        mine,
        spec.learning.promotion.better_probability_min_percent,
        spec.mode is Mode.SIMULATION,
    )


_Slice = TypeVar("_Slice")


def _decoded(path: Path, kind: type[_Slice]) -> _Slice:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from error


def _rules(ensemble: Ensemble) -> Rules:
    from tradingsystem.learning.backtest import Rules

    quiet = max(ensemble.signal_expiry_seconds, ensemble.symbol_cooldown_minutes * 60)
    return Rules(threshold=ensemble.signal_threshold_percent / 100.0, quiet_seconds=quiet)


def _learn(
    name: str,
    runs: list[Path],
    store: Path,
    settings: _Settings,
    key: Path | None,
    secrets_folder: Path | None,
    hour: str,
    report: Path,
    cache: Path | None,
    far: ObjectStore | None,
    *,
    torch: bool,
) -> None:
    from tradingsystem.learning.fit import NUMPY
    from tradingsystem.learning.torch_newton import arithmetic
    from tradingsystem.world.learning_job import FINAL, Job, kind_of_all, learn  # compiled kernels: no other command should wait for them
    from tradingsystem.world.learning_store import champion_of, earlier, gather, prepare
    from tradingsystem.world.recipe import recipe_key

    fitting = arithmetic() if torch else NUMPY
    identity = f"{settings.system or 'local'}/{name}/{hour}"
    console = Console(highlight=False, soft_wrap=True)
    prepare(store, None)
    highest = _travelled(far.bring, store, console) if far is not None else 0
    if (version := earlier(store, identity)) is not None:
        console.print(f"AlreadyPublished: version {version} is this job's candidate of {hour}; nothing was learned", markup=False)
        if far is not None:
            known = None if key is None and settings.simulated else _signing_key(key, settings.system, secrets_folder, console)
            _send(far, store, console, known)
        return
    found, data = _read(runs, cache or store / ".rows", settings.filter, console)
    gather(found, store)
    signing: Ed25519PrivateKey | None
    if key is None and settings.simulated and kind_of_all(data.days) in {"simulated", ""}:
        signing = recipe_key()  # known to everybody, and trusted for what is trained on simulated data alone: no secret is needed
    else:
        signing = _signing_key(key, settings.system, secrets_folder, console)
    prepare(store, signing)
    job = Job(
        name=name,
        identity=identity,
        store=store,
        key=signing,
        champion=champion_of(store, data.days[-1].model if data.days else 0, signing),
        window=settings.window if name == "incremental" else 0,
        rules=settings.rules,
        created=datetime.now(UTC).date(),
        better_probability_min_percent=settings.better_probability_min_percent,
        arithmetic=fitting,
        above=highest,
    )
    with console.status(f"learn {name}") as shown:
        learned = learn(job, data, lambda doing: shown.update(f"learn {name}: {doing}"))
    _tell(learned, report, console)
    _send(far, store, console, signing)
    if learned.outcome not in FINAL:
        raise typer.Exit(RETRY)


def _object_store(server: ServerAddress, system: str, password_file: Path | None, volume_bytes: int) -> ObjectStore | None:
    """The object store of the system at that message server; None without one. Raises ``InvalidInput``."""
    from tradingsystem.process.private_files import read_password
    from tradingsystem.world.learning_transport import ObjectStore

    if not server.url:
        return None
    if not system:
        raise InvalidInput("--nats-url: say with --system whose object store it is")
    return ObjectStore(server, system, read_password(password_file) if password_file is not None else "", volume_bytes)


def _send(far: ObjectStore | None, store: Path, console: Console, key: Ed25519PrivateKey | None) -> None:
    """What was published here, also by a job that was killed before it could, into the object store."""
    if far is None:
        return
    keys = [key.public_key().public_bytes_raw()] if key is not None else []
    for version in _travelled(lambda folder: far.send(folder, *keys), store, console):
        console.print(f"version {version} is in the object store", markup=False)


def _travelled(travel: Callable[[Path], _Found], store: Path, console: Console) -> _Found:
    """Exit 1 when it cannot: another try is worth it."""
    try:
        return travel(store)
    except (TryAgain, OutcomeUnknown, RequestRefused, NotAuthorized) as error:
        console.print(f"NotPublished: {error}; what is in {store} stays and is sent by the next run", markup=False)
        raise typer.Exit(RETRY) from error


def _read(runs: list[Path], cache: Path, spec: FilterSlice | None, console: Console) -> tuple[list[Path], Days]:
    from tradingsystem.world.learning_days import find_runs, load_days

    found = find_runs(tuple(runs))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{len(found)} recorded runs", total=len(found))
        return found, load_days(found, cache, spec, lambda: progress.advance(task))


def _tell(learned: Learned, report: Path, console: Console) -> None:
    from tradingsystem.world.learning_page import render

    report.mkdir(parents=True, exist_ok=True)
    page = report / f"learn-{learned.job}.html"
    page.write_text(render(learned), encoding="utf-8")
    page.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(learned), indent=1))
    rows, reached = sum(one.rows for one in learned.sessions), sum(one.reached for one in learned.sessions)
    console.print(f"{len(learned.sessions)} sessions, {rows:,} rows, {reached:,} reached the target", markup=False)
    for run, why in learned.left_out:
        console.print(f"left out: {run}: {why}", markup=False)
    number = f" version {learned.version}" if learned.version else ""
    console.print(f"{learned.outcome.value}{number}", markup=False)
    for said in learned.findings:
        console.print(f"  {said}", markup=False)
    console.print(f"Look: {page}", markup=False)


def _hour(scheduled_at: str) -> str:
    """The name of the run: as given, else the job's as the cluster named it, else this hour."""
    if scheduled_at:
        try:
            return datetime.fromisoformat(scheduled_at).strftime("%Y-%m-%dT%H:%M")
        except ValueError as error:
            raise InvalidInput(f"--scheduled-at {scheduled_at}: not a time like 2026-03-02T23:30") from error
    return os.environ.get(JOB_KEY_VARIABLE) or datetime.now(UTC).strftime("%Y-%m-%dT%H:00")


def _signing_key(key: Path | None, system: str, secrets_folder: Path | None, console: Console) -> Ed25519PrivateKey | None:
    from tradingsystem.world.learning_store import signing_key

    try:
        return signing_key(key, system, secrets_folder)
    except NotAuthorized as error:
        console.print(f"{error}", markup=False)
        return None
