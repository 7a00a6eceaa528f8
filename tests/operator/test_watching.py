"""Watches of what a person made and a spec names, on a real API server: who names it is woken, nobody else, and no longer than it is named."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.operator.operating import Place
from tests.promises.waiting import run, until
from tradingsystem_operator import access
from tradingsystem_operator.cluster import Cluster
from tradingsystem_operator.objects import CONFIG_MAP, Reference
from tradingsystem_operator.queue import SystemKey
from tradingsystem_operator.watching import Watches

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

MANY = 120
"""More connections than an HTTP client keeps unless it is told otherwise."""


@contextlib.asynccontextmanager
async def watching(plane: ControlPlane, here: Place, woken: list[SystemKey]) -> AsyncIterator[tuple[Cluster, Watches]]:
    async with Cluster(access.find(plane.kubeconfig, {})) as cluster:
        watches = Watches(cluster, (here.namespace,), woken.append)
        running = asyncio.create_task(watches.run())
        await watches.ready()
        try:
            yield cluster, watches
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def followed(here: Place) -> int:
    """Watches of single objects that run."""
    return sum(task.get_name().startswith(f"watch ConfigMap {here.namespace}/") for task in asyncio.all_tasks())


def test_a_change_wakes_those_who_name_it_and_nobody_else(plane: ControlPlane, here: Place) -> None:
    """Two systems share one watch, which ends with the last of them."""
    one, other, third = (SystemKey(here.namespace, name) for name in ("one", "other", "third"))
    shared, own = Reference(CONFIG_MAP, "shared"), Reference(CONFIG_MAP, "own")
    woken: list[SystemKey] = []

    async def main() -> None:
        async with watching(plane, here, woken) as (_, watches):
            for system, named in ((one, {shared}), (other, {shared}), (third, {own})):
                watches.follow(system, frozenset(named))
            await until(lambda: {*woken} == {one, other, third})  # each is looked at once more when its watch begins
            assert followed(here) == 2
            for act in (
                lambda: here.create(CONFIG_MAP, {"metadata": {"name": "shared"}, "data": {"symbols": "SPY"}}),
                lambda: here.patch(CONFIG_MAP, "shared", {"data": {"symbols": "AAPL"}}),
                lambda: here.delete(CONFIG_MAP, "shared"),
            ):
                woken.clear()
                await asyncio.to_thread(act)
                await until(lambda: {*woken} == {one, other})
            watches.follow(one, frozenset({own}))
            woken.clear()
            await asyncio.to_thread(here.create, CONFIG_MAP, {"metadata": {"name": "own"}})
            await until(lambda: {*woken} == {one, third})
            watches.follow(other, frozenset())
            await until(lambda: followed(here) == 1)
            assert watches.stuck() == ""

    run(main())


def test_requests_go_on_beside_any_number_of_watches(plane: ControlPlane, here: Place) -> None:
    """Each watch holds a connection for as long as it lives: a request that waited for one of those would wait for ever."""
    systems = [SystemKey(here.namespace, f"system-{number}") for number in range(MANY)]
    woken: list[SystemKey] = []

    async def main() -> None:
        async with watching(plane, here, woken) as (cluster, watches):
            for system in systems:
                watches.follow(system, frozenset({Reference(CONFIG_MAP, system.name)}))
            await until(lambda: {*woken} == {*systems})
            here.create(CONFIG_MAP, {"metadata": {"name": systems[-1].name}})
            assert await cluster.get(CONFIG_MAP, here.namespace, systems[-1].name) is not None

    run(main())
