"""Making room takes the oldest versions, never one that is needed, and never half of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.bundles.test_publishing import KEY, draft
from tradingsystem.bundles.publishing import STAGING, Published, publish, version_numbers
from tradingsystem.bundles.store import collectable, remove

NUMBERS = st.integers(1, 40)


@given(versions=st.sets(NUMBERS), kept=st.integers(-2, 45), protected=st.sets(NUMBERS))
def test_only_old_and_unneeded_versions_go(versions: set[int], kept: int, protected: set[int]) -> None:
    """Neither a protected one nor the newest ever; everything else that is older than the newest ``kept``; oldest first."""
    gone = collectable(versions, kept, protected)
    stays = versions - set(gone)
    assert list(gone) == sorted(set(gone))
    assert set(gone) <= versions
    assert not set(gone) & protected
    if versions:
        assert max(versions) in stays
        newest = set(sorted(versions)[-max(kept, 1) :])
        assert stays == newest | (versions & protected)


@given(versions=st.sets(NUMBERS), kept=st.integers(1, 45), protected=st.sets(NUMBERS))
def test_collecting_twice_is_collecting_once(versions: set[int], kept: int, protected: set[int]) -> None:
    """What was left stays left."""
    assert collectable(versions - set(collectable(versions, kept, protected)), kept, protected) == ()


def test_a_removed_number_is_not_given_again(tmp_path: Path) -> None:
    """The next version is one above the newest, however many older ones went; what is not there is not removed."""
    for number in range(3):
        publish(tmp_path, draft(f"job {number}"), KEY)
    assert remove(tmp_path, (1, 2, 9)) == (1, 2)
    assert version_numbers(tmp_path) == [3]
    assert not (tmp_path / STAGING).exists()
    assert publish(tmp_path, draft("later"), KEY) == Published(4, existed=False)


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from tradingsystem.bundles.store import remove
shutil.rmtree = lambda folder, **_: os.kill(os.getpid(), signal.SIGKILL) if any(Path(folder).glob("removed-*")) else None
remove(Path(sys.argv[1]), (1,))
"""


def test_a_version_whose_removal_is_killed_is_gone_whole(tmp_path: Path) -> None:
    """SIGKILL between the rename and the deletion: no version any more, and the next publisher sweeps what is left."""
    for number in range(2):
        publish(tmp_path, draft(f"job {number}"), KEY)
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, cwd=root, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert version_numbers(tmp_path) == [2]
    assert (tmp_path / STAGING / "removed-1").is_dir()
    assert publish(tmp_path, draft("later"), KEY) == Published(3, existed=False)
    assert not (tmp_path / STAGING).exists()
