"""What is heard of TradingSystems, from a real API server; and that kopf, which hears it, keeps its hands off everything else in the process."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.operator.operating import Place
from tests.promises.waiting import run, until
from tests.spec.documents import document
from tradingsystem_operator import access
from tradingsystem_operator.handlers import hear
from tradingsystem_operator.objects import TRADING_SYSTEM
from tradingsystem_operator.queue import SystemKey
from tradingsystem_operator.settings import parse

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


class Heard:
    """What was told, and in which thread."""

    def __init__(self) -> None:
        self.told: list[tuple[SystemKey, bool]] = []
        self.threads: set[int] = set()

    def __call__(self, key: SystemKey, _: dict[str, Any], gone: bool) -> None:
        self.told.append((key, gone))
        self.threads.add(threading.get_ident())


def hearing(plane: ControlPlane, here: Place, heard: Heard) -> asyncio.Task[None]:
    settings = parse(["--components-image=example/components:1", "--namespace", here.namespace], {})
    return asyncio.create_task(hear(heard, access.find(plane.kubeconfig, {}), settings))


def test_what_is_made_changed_and_deleted_is_told_here(plane: ControlPlane, here: Place) -> None:
    """In the loop that asked, though it is heard in another."""
    heard = Heard()

    async def main() -> None:
        listening = hearing(plane, here, heard)
        await asyncio.to_thread(here.create, TRADING_SYSTEM, document())
        key = SystemKey(here.namespace, "momentum")
        await until(lambda: (key, False) in heard.told)
        await asyncio.to_thread(here.delete, TRADING_SYSTEM, "momentum")
        await until(lambda: (key, True) in heard.told)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert heard.threads == {threading.get_ident()}

    run(main())


def test_its_end_touches_nothing_that_began_after_it(plane: ControlPlane, here: Place) -> None:
    """What works goes on, what fails fails alone, and the end is an end and no error."""
    heard = Heard()

    async def failing() -> None:
        raise OSError("name or service not known")

    async def main() -> None:
        listening = hearing(plane, here, heard)
        await asyncio.to_thread(here.create, TRADING_SYSTEM, document())
        await until(lambda: heard.told)
        working, failed = asyncio.create_task(asyncio.Event().wait()), asyncio.create_task(failing())
        listening.cancel()
        (ended,) = await asyncio.gather(listening, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError)
        assert not working.done()
        assert isinstance(failed.exception(), OSError)
        working.cancel()

    run(main())


def test_signals_stay_with_the_process(plane: ControlPlane, here: Place) -> None:
    """Who asked for them before still gets them while it listens, and it does not end by them."""
    heard, caught = Heard(), asyncio.Event()

    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, caught.set)
        listening = hearing(plane, here, heard)
        await asyncio.to_thread(here.create, TRADING_SYSTEM, document())
        await until(lambda: heard.told)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(caught.is_set)
        assert not listening.done()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    run(main())
