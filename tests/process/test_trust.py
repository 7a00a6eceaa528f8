"""Whom a store trusts: the release always, for what it may sign; the system's own keys beside the versions, as many as an exchange of keys needs."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tradingsystem.bundles.bundle import read_bundle, write_bundle
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.process.serving import PUBLIC_KEY_FILE, SHIPPED, SHIPPED_MODELS, choose_in, shipped_key, trusted_in, versions_in

OLD, NEW = (Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32) for byte in (1, 2))


def public(key: Ed25519PrivateKey) -> bytes:
    """Its public half."""
    return key.public_key().public_bytes_raw()


def write_keys(store: Path, *keys: bytes) -> None:
    """As a person writes them: one a line."""
    (store / PUBLIC_KEY_FILE).write_text("".join(f"{key.hex()}\n" for key in keys), encoding="ascii")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The release's version 1, and versions 2 and 3 by two keys of the system."""
    shutil.copytree(SHIPPED_MODELS / "1", tmp_path / "1")
    shipped = read_bundle(tmp_path / "1", shipped_key())
    for version, key in ((2, OLD), (3, NEW)):
        live = msgspec.structs.replace(shipped.manifest, version=version, training_data_kind="live")
        write_bundle(tmp_path / str(version), live, shipped.int8_graph, shipped.float_graph, shipped.golden, key)
    return tmp_path


def test_a_store_with_a_key_of_its_own_serves_the_releases_version_too(store: Path) -> None:
    """A rollback to version 1 must not fail because the system has learned meanwhile."""
    write_keys(store, public(NEW))
    assert choose_in(store, 0).bundle.manifest.version == 3
    assert choose_in(store, 1).bundle.manifest.version == 1


def test_keys_are_exchanged_without_losing_a_version(store: Path) -> None:
    """Both keys trusted, then the old one no more: what it signed is refused from then on, without a restart."""
    write_keys(store, public(NEW), public(OLD))
    assert [choose_in(store, version).bundle.manifest.version for version in (1, 2, 3)] == [1, 2, 3]
    write_keys(store, public(NEW))
    choice = choose_in(store, 2)
    assert (choice.bundle.manifest.version, "trusted keys" in choice.refused[2]) == (3, True)


def test_without_keys_of_its_own_only_the_release_is_trusted(store: Path) -> None:
    """And it vouches for nothing that could trade outside Simulation, also where a store names its key as its own."""
    assert choose_in(store, 0).bundle.manifest.version == 1
    write_keys(store, shipped_key())
    assert trusted_in(store).own == ()


def test_what_is_no_key_is_said(store: Path) -> None:
    """Where it is and what would be right."""
    for wrong in ("not hex", "00ff"):
        (store / PUBLIC_KEY_FILE).write_text(wrong, encoding="ascii")
        with pytest.raises(InvalidInput, match="64 hex digits each, one a line"):
            trusted_in(store)


def test_the_release_has_the_number_1_and_no_other() -> None:
    """Every other number is given by a system's own store: a second one in the package would be two versions under one number (decision 0014)."""
    assert versions_in(None) == list(SHIPPED) == [1]
