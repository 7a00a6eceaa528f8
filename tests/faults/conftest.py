"""What fault tests share: the recovery time, told outside of pytest's capture."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.recovery import took


@pytest.fixture
def back_after(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[float], None]:
    """Call it with the seconds between the fault, or its end where it has one, and the system being ready again."""

    def tell(seconds: float) -> None:
        with capsys.disabled():
            took(request.node.nodeid, seconds)

    return tell
