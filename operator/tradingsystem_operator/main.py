"""The operator's process: become leader, watch, work, and end in order. Flags are in ``settings.py``: ``python -m tradingsystem_operator --help``.

Exit 0 after SIGTERM, 1 when the Lease is lost (another one works now, and this one must not), 2 for a mistake in flags or kubeconfig. Nothing a resource
says ends the process, and neither does an API server that is away.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from typing import Any

import structlog

from tradingsystem.domain.errors import InvalidInput, TradingSystemError, TryAgain
from tradingsystem.spec import content_hash
from tradingsystem.telemetry import logs
from tradingsystem.telemetry import operator_metrics as metrics
from tradingsystem_operator import access as ways
from tradingsystem_operator.access import Access
from tradingsystem_operator.cluster import Cluster, Expired
from tradingsystem_operator.deafness import Deafness
from tradingsystem_operator.events import Events
from tradingsystem_operator.handlers import hear
from tradingsystem_operator.health import Health
from tradingsystem_operator.leader import Leader
from tradingsystem_operator.objects import TRADING_SYSTEM, Object
from tradingsystem_operator.queue import Queue, SystemKey
from tradingsystem_operator.reconcile import Reconciler
from tradingsystem_operator.release import Release
from tradingsystem_operator.settings import Settings, parse
from tradingsystem_operator.watching import Watches

log = structlog.get_logger()

EXIT_OK, EXIT_LOST, EXIT_INPUT = 0, 1, 2
ROUND_SECONDS = 120.0
MEASURE_SECONDS = 5.0
AGAIN_SECONDS = 5.0


class LeaseLost(Exception):
    """Another operator may be working: stop at once."""


class Operator:
    """One process from start to end; ``stop`` begins the end."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings, self._access = settings, access
        self._stopping = asyncio.Event()
        self._queue: Queue[SystemKey] = Queue(asyncio.get_running_loop().time)
        self._cluster = Cluster(access)
        self._watches = Watches(self._cluster, settings.namespaces, self._queue.add)
        self._deafness = Deafness()
        self._reconciler = Reconciler(
            cluster=self._cluster,
            store=self._watches.store,
            release=Release(
                version=settings.release_version,
                build=settings.build,
                components_image=settings.components_image,
                triton_image=settings.triton_image,
                triton_cpu_image=settings.triton_cpu_image,
                components_gpu_image=settings.components_gpu_image,
                pull_policy=settings.pull_policy,
                operator_namespace=settings.lease_namespace,
            ),
            events=Events(self._cluster, settings.identity),
            url_of=lambda key: settings.nats_url.format(system=key.name, namespace=key.namespace),
            wake=self._queue.add,
            follow=self._watches.follow,
            newest=self._deafness.newest,
        )
        self._leader = Leader(
            self._cluster,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=settings.identity,
            monotonic=time.monotonic,
        )
        self._shown: dict[SystemKey, str] = {}
        self._unwell, self._unready = "", "it has not asked for the Lease yet"
        self.health = Health(lambda: self._unwell or self._watches.stuck(), lambda: self._unready)

    def stop(self) -> None:
        """End in order. Idempotent."""
        self._stopping.set()

    async def run(self) -> int:
        """Until stopped, or the Lease is lost. Raises ``InvalidInput`` when it cannot listen."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        await self.health.start(self._settings.metrics_host, self._settings.metrics_port)
        log.info("listening", port=self.health.port, server=self._access.server, namespaces=list(self._settings.namespaces) or "all")
        try:
            async with self._cluster:
                return await self._work_until_stopped()
        finally:
            await self.health.stop()

    async def _work_until_stopped(self) -> int:
        work = asyncio.create_task(self._lead())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self._unready = "it is ending"
        for task in (work, stopping):
            task.cancel()
        ended = (await asyncio.gather(work, stopping, return_exceptions=True))[0]
        await self._leader.release()  # nothing writes any more; what is left only listens
        await self._reconciler.close()
        if isinstance(ended, LeaseLost):
            log.error("lease_lost", reason=str(ended))
            return EXIT_LOST
        if isinstance(ended, Exception):
            raise ended
        return EXIT_OK

    async def _lead(self) -> None:
        self._unready = "it stands by: another one has the Lease"
        await self._leader.acquire()
        self._unready = "it is the leader, and looks at the cluster for the first time"
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_lease())
                group.create_task(self._watches.run())
                group.create_task(self._measure())
                await self._until_served()
                await self._watches.ready()
                group.create_task(self._hear())
                group.create_task(self._resync())
                for number in range(self._settings.workers):
                    group.create_task(self._work(), name=f"worker {number}")
                self._unready = ""
        except BaseExceptionGroup as errors:
            lost, others = errors.split(LeaseLost)
            raise (others if others is not None else lost.exceptions[0] if lost is not None else errors) from errors

    async def _keep_lease(self) -> None:
        raise LeaseLost(await self._leader.keep())

    async def _until_served(self) -> None:
        """Wait until TradingSystems can be listed: without the definition there is nothing to do, and no reason to fall."""
        told = ""
        while True:
            try:
                await self._list()
            except TradingSystemError as error:
                self._unready = f"TradingSystems cannot be listed; is the definition installed (manifests/crd)? {error}"
                if told != str(error):
                    told = str(error)
                    log.error("not_served", reason=told)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def _list(self) -> list[Object]:
        found: list[Object] = []
        for namespace in self._settings.namespaces or ("",):
            found += (await self._cluster.list(TRADING_SYSTEM, namespace)).items
        return found

    # --- what wakes --------------------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        """Of every TradingSystem that changes, for ever; when the watch gives up it begins anew."""
        while True:
            try:
                await hear(self._changed, self._access, self._settings)
                log.error("watch_of_systems_ended", again_seconds=AGAIN_SECONDS)
            except Exception as error:
                log.error("watch_of_systems_failed", again_seconds=AGAIN_SECONDS, exc_info=error)
            await asyncio.sleep(AGAIN_SECONDS)

    def _changed(self, key: SystemKey, thing: Object, gone: bool) -> None:
        metadata = thing["metadata"]
        if gone:
            self._deafness.gone(key)
            self._shown.pop(key, None)
            self._queue.add(key)
            return
        self._deafness.heard(key, metadata["uid"], metadata.get("generation", 0))
        names = ("uid", "generation", "annotations", "labels", "finalizers", "deletionTimestamp")
        shown = content_hash({name: metadata[name] for name in names if name in metadata})
        if self._shown.get(key) != shown:  # our own writing of status is nothing to look at
            self._shown[key] = shown
            self._queue.add(key)

    async def _resync(self) -> None:
        """Everything, now and again: what no watch tells, what a watch has lost, and whether it is deaf."""
        while True:
            try:
                found = await self._list()
            except TradingSystemError as error:
                log.warning("resync_failed", reason=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            shown = {SystemKey(thing["metadata"]["namespace"], thing["metadata"]["name"]): thing["metadata"] for thing in found}
            generations = {key: (metadata["uid"], metadata.get("generation", 0)) for key, metadata in shown.items()}
            self._unwell = self._deafness.listed(generations, time.monotonic())
            metrics.deaf.set(bool(self._unwell))
            for key in {*shown, *self._reconciler.said}:
                self._queue.add(key)
            await asyncio.sleep(self._settings.resync_seconds)

    # --- working -----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            with structlog.contextvars.bound_contextvars(of=str(key)):
                await self._round(key)

    async def _round(self, key: SystemKey) -> None:
        """One round, however it ends. What nobody foresaw in one system must not end the work on all others: it is logged, counted and tried again."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                await self._reconciler.reconcile(key)
        except (TradingSystemError, Expired, TimeoutError) as error:
            delay = self._queue.failed(key, error.after_seconds if isinstance(error, TryAgain) else 0.0)
            self._count("again", error)
            log.warning("round_again", reason=str(error) or type(error).__name__, again_seconds=round(delay, 1))
        except Exception as error:
            delay = self._queue.failed(key)
            self._count("failed", error)
            log.error("round_failed", again_seconds=round(delay, 1), exc_info=error)
        else:
            self._queue.done(key)
            metrics.reconciles.labels(outcome="done").inc()
        finally:
            metrics.reconcile_time.observe(time.monotonic() - began)

    def _count(self, outcome: str, error: Exception) -> None:
        metrics.reconciles.labels(outcome=outcome).inc()
        metrics.reconcile_errors.labels(error=type(error).__name__).inc()

    async def _measure(self) -> None:
        while True:
            metrics.queue_depth.set(self._queue.waiting)
            metrics.queue_age.set(self._queue.age_seconds)
            self._watches.measure()
            said = Counter(
                (condition.type.value, condition.status.value)
                for status in self._reconciler.said.values()
                for condition in status.conditions
            )
            metrics.systems.clear()
            for (condition, status), count in said.items():
                metrics.systems.labels(condition=condition, status=status).set(count)
            await asyncio.sleep(MEASURE_SECONDS)


async def _operate(settings: Settings, access: Access) -> int:
    asyncio.get_running_loop().set_exception_handler(_on_escaped)
    return await Operator(settings, access).run()


def _on_escaped(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("callback_failed", what=context.get("message"), exc_info=context.get("exception"))


def main() -> None:
    """Entry point."""
    try:
        settings = parse(sys.argv[1:], os.environ)
        access = ways.find(settings.kubeconfig, os.environ)
        logs.configure(service="operator", system="", level=settings.log_level)
        status = asyncio.run(_operate(settings, access))
    except InvalidInput as error:
        sys.stderr.write(f"tradingsystem-operator: {error}\n")
        status = EXIT_INPUT
    finally:
        logs.close()
    sys.exit(status)
