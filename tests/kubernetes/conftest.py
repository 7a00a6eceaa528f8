"""One cluster with the operator installed for each worker, shared by the files that it runs; its logs stay in the run's temporary folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes.installation import Installation, installed, say


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The operator in a cluster of its own."""
    folder = tmp_path_factory.mktemp("cluster")
    say(f"logs: {folder}/log")
    with installed(folder) as made:
        yield made
