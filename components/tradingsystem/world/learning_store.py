"""What a learning job needs of the store: the version it is compared with, what it published before, and the key that signs."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tradingsystem.bundles.bundle import Bundle, InvalidBundle, read_bundle
from tradingsystem.bundles.manifest import MANIFEST_NAME, Manifest
from tradingsystem.bundles.publishing import version_numbers
from tradingsystem.domain.errors import InvalidInput, NotAuthorized
from tradingsystem.domain.time import new_york_date
from tradingsystem.learning.ledger import FILE_NAME, Ledger, Trial
from tradingsystem.process.private_files import write_private
from tradingsystem.process.secrets import Secrets, local_folder
from tradingsystem.process.serving import PUBLIC_KEY_FILE, SHIPPED_MODELS, prepare_folder, trusted_in
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.secrets import signing_secret
from tradingsystem.spec.simulation import MarketSource
from tradingsystem.world.day import Day
from tradingsystem.world.learning_days import name_of

KEY_NAME, PUBLIC_KEY_NAME = "privateKey", "publicKey"


def prepare(store: Path, key: Ed25519PrivateKey | None) -> None:
    """An empty store gets the package's own bundle as version 1, which candidates are compared with and numbered after, and the key that verifies what is
    published. Raises ``OSError``."""
    prepare_folder(store)
    public = store / PUBLIC_KEY_FILE
    if key is not None and not public.exists():
        public.write_text(key.public_key().public_bytes_raw().hex() + "\n", encoding="ascii")


def champion_of(store: Path, served: int, key: Ed25519PrivateKey | None) -> Bundle:
    """The version that decided in the newest recording, else the package's own. Raises ``InvalidInput`` when none can be read."""
    trusted = _trusted(store, key)
    why = []
    for folder in (store / str(served), SHIPPED_MODELS / "1"):
        try:
            return read_bundle(folder, *trusted)
        except InvalidBundle as error:
            why.append(str(error))
    raise InvalidInput(f"no version to compare with: {'; '.join(why)}")


def version_of(store: Path, version: int, key: Ed25519PrivateKey | None) -> Bundle:
    """One version of a store, verified by the key that signs, the store's own or the package's. Raises ``InvalidInput``."""
    try:
        return read_bundle(store / str(version), *_trusted(store, key))
    except InvalidBundle as error:
        raise InvalidInput(str(error)) from error


def _trusted(store: Path, key: Ed25519PrivateKey | None) -> tuple[bytes, ...]:
    own = [key.public_key().public_bytes_raw()] if key is not None else []
    trusted = trusted_in(store, *own)
    return (*trusted.own, *trusted.simulated)


def gather(runs: list[Path], store: Path) -> int:
    """Trials that runs noted beside their recordings, as `demo` does, into the store's ledger; returns how many are new. Raises ``DamagedLedger``."""
    return Ledger(store / FILE_NAME).append(trial for run in runs for trial in Ledger(run / FILE_NAME).trials())


def note_demo(folder: Path, day: Day) -> None:
    """A demo is a look at a day as well: whoever plays it until it pleases has tried so often. Noted beside the recording. Raises ``OSError``."""
    if day.settings is None or not day.statuses or day.settings.mode is not Mode.SIMULATION:
        return
    simulation = day.settings.simulation
    kind = "simulated" if simulation.source is MarketSource.GENERATED else "recorded"
    name = name_of(kind, new_york_date(day.statuses[-1].at_ns), simulation.seed)
    versions = ",".join(str(version) for version in sorted(day.cuts.models))
    trial = Trial(identity=f"demo/{name}/model {versions}", job="demo", data_kind=kind, sessions=(name,), outcome="Looked")
    Ledger(folder / FILE_NAME).append([trial])


def earlier(store: Path, identity: str) -> int | None:
    """The version that this job published before. Only a look that saves the work: ``publish`` verifies it."""
    for version in reversed(version_numbers(store)):
        try:
            manifest = msgspec.json.decode((store / str(version) / MANIFEST_NAME).read_bytes(), type=Manifest)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue  # a damaged version is none
        if manifest.identity == identity:
            return version
    return None


def signing_key(file: Path | None, system: str, mounted: Path | None = None) -> Ed25519PrivateKey:
    """The private key of 64 hex digits: from ``file``, else the secret of that system's learning jobs, in a pod at ``mounted``.

    Raises ``NotAuthorized`` saying what to do.
    """
    if file is not None:
        try:
            if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise NotAuthorized(str(file), f"others can read it; run: chmod 600 {file}")
            text = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise NotAuthorized(str(file), f"cannot be read ({error})") from error
        return _key(str(file), text)
    if not system:
        raise NotAuthorized("signing key", "none given; say where it is with --key, or name the system with --system")
    name = signing_secret(system)
    secrets = Secrets(mounted, mounted=True) if mounted is not None else Secrets(local_folder())
    return _key(f"secret {name}, key {KEY_NAME}", secrets.value(name, KEY_NAME))


def make_keys(folder: Path) -> tuple[bytes, bool]:
    """The private key in ``folder``, made where there is none, and its public half beside it; returns that half, raw, and whether the key is new.

    Raises ``NotAuthorized`` for a private key that others can read or that is none, ``InvalidInput`` for a folder that cannot be written.
    """
    private = folder / KEY_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = not private.exists()
        if made:
            write_private(private, Ed25519PrivateKey.generate().private_bytes_raw().hex().encode() + b"\n")
        public = signing_key(private, "").public_key().public_bytes_raw()
        (folder / PUBLIC_KEY_NAME).write_text(public.hex() + "\n", encoding="ascii")
    except OSError as error:
        raise InvalidInput(f"{error.filename or folder}: {error.strerror}") from error
    return public, made


def _key(name: str, text: str) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text.strip()))
    except ValueError as error:
        raise NotAuthorized(name, "is not 64 hex digits; a new one: tradingsystem learn key FOLDER") from error
