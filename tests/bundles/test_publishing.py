"""A version appears whole under the next free number, once per job, or the store stays as it was."""

from __future__ import annotations

import concurrent.futures
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.bundles.test_bundle import manifest
from tests.bundles.test_evidence import evidence
from tests.promises.model_server import good_bundle
from tradingsystem.bundles import publishing
from tradingsystem.bundles.bundle import read_bundle
from tradingsystem.bundles.manifest import EVIDENCE_NAME
from tradingsystem.bundles.publishing import Draft, NotPublished, Published, publish, version_numbers

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()


def draft(identity: str = "retrain 2026-03-07", seed: int = 3) -> Draft:
    """A whole draft with evidence."""
    bundle = good_bundle(0, seed)
    unnumbered = msgspec.structs.replace(manifest(), version=0)
    return Draft(unnumbered, bundle.int8_graph, bundle.float_graph, bundle.golden, evidence(), identity)


def test_each_job_gets_the_next_number(tmp_path: Path) -> None:
    """One above the highest there is, gaps left alone, and what was written verifies with its evidence."""
    assert publish(tmp_path, draft("first"), KEY) == Published(1, existed=False)
    (tmp_path / "7").mkdir()
    assert publish(tmp_path, draft("second"), KEY) == Published(8, existed=False)
    bundle = read_bundle(tmp_path / "8", PUBLIC)
    assert (bundle.manifest.version, bundle.manifest.identity, bundle.evidence) == (8, "second", evidence())
    assert EVIDENCE_NAME in bundle.manifest.files


def test_the_same_job_run_twice_gives_one_candidate(tmp_path: Path) -> None:
    """By its identity, whatever numbers it came to the second time; without an identity each run is its own."""
    assert publish(tmp_path, draft(), KEY).version == 1
    assert publish(tmp_path, draft(seed=4), KEY) == Published(1, existed=True)
    assert [publish(tmp_path, draft(""), KEY).version for _ in range(2)] == [2, 3]


def test_a_damaged_candidate_may_be_made_again(tmp_path: Path) -> None:
    """What does not verify is not what the job published."""
    publish(tmp_path, draft(), KEY)
    (tmp_path / "1" / "golden.npz").write_bytes(b"garbage")
    assert publish(tmp_path, draft(), KEY) == Published(2, existed=False)


def test_publishers_at_the_same_moment_share_no_number(tmp_path: Path) -> None:
    """Four jobs at once: two of the same identity give one version."""
    jobs = [draft("a"), draft("a"), draft("b"), draft("c")]
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        published = list(pool.map(lambda job: publish(tmp_path, job, KEY), jobs))
    assert version_numbers(tmp_path) == [1, 2, 3]
    assert published[0].version == published[1].version
    assert len({each.version for each in published}) == 3


def test_evidence_that_cannot_be_is_not_signed(tmp_path: Path) -> None:
    """The key vouches for nothing that contradicts itself, nor for a number given by the job."""
    wrong = msgspec.structs.replace(evidence(), trials=0)
    whole = draft()
    with pytest.raises(NotPublished, match="trials"):
        publish(tmp_path, Draft(whole.manifest, whole.int8_graph, whole.float_graph, whole.golden, wrong, "x"), KEY)
    with pytest.raises(NotPublished, match="version 0"):
        publish(tmp_path, Draft(manifest(), whole.int8_graph, whole.float_graph, whole.golden, None, "x"), KEY)
    assert version_numbers(tmp_path) == []


FULL = """
import resource, sys
from pathlib import Path
from tests.bundles.test_publishing import KEY, draft
from tradingsystem.bundles.publishing import NotPublished, publish
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
whole = draft("second")
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))
try:
    publish(Path(sys.argv[1]), whole, KEY)
except NotPublished as error:
    sys.exit(str(error))
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.bundles.test_publishing import KEY, draft
from tradingsystem.bundles import publishing
publishing.flush_folder = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
publishing.publish(Path(sys.argv[1]), draft("second"), KEY)
"""


def in_a_process(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it from the repository's root, which holds ``tests``."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False, cwd=root, env=environment)


def test_no_room_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """A file that cannot be written to its end: named, nothing new, nothing staged, and the next job gets that number."""
    publish(tmp_path, draft("first"), KEY)
    done = in_a_process(FULL, tmp_path)
    assert done.returncode == 1
    assert os.strerror(errno.EFBIG) in done.stderr
    assert version_numbers(tmp_path) == [1]
    assert not (tmp_path / publishing.STAGING).exists()
    assert publish(tmp_path, draft("second"), KEY) == Published(2, existed=False)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of a few pages."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write until nothing more goes in; the file that takes the room."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    return ballast


@pytest.mark.tmpfs
def test_a_full_disk_leaves_the_store_as_it_was(tiny_disk: Path) -> None:
    """Named, nothing new, nothing staged; once there is room the same job publishes."""
    folder = tiny_disk / "store"
    publish(folder, draft("first"), KEY)
    ballast = fill(tiny_disk)
    with pytest.raises(NotPublished, match="No space left on device; the store is as it was"):
        publish(folder, draft("second"), KEY)
    assert version_numbers(folder) == [1]
    assert not (folder / publishing.STAGING).exists()
    ballast.unlink()
    assert publish(folder, draft("second"), KEY) == Published(2, existed=False)


def test_a_killed_job_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """SIGKILL before the rename: what it staged is no version, and the next job sweeps it."""
    publish(tmp_path, draft("first"), KEY)
    assert in_a_process(KILLED, tmp_path).returncode == -signal.SIGKILL
    assert (tmp_path / publishing.STAGING).exists()
    assert version_numbers(tmp_path) == [1]
    assert publish(tmp_path, draft("second"), KEY) == Published(2, existed=False)
    assert not (tmp_path / publishing.STAGING).exists()
