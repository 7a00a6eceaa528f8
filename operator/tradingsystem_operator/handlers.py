"""What kopf is for here: it hears that a TradingSystem changed, and puts its key into the queue. It keeps no state, writes nothing and holds no finalizer.

It has a thread and a loop of its own: at its end kopf takes every task that was begun after it for one of its own, waits for it, cancels it and raises what
made it fail; and it would take the process' signals.

One handler for events, none for changes: kopf then neither annotates objects nor decides what changed. Its settings are fixed here, its names are our own from
the first release on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import kopf

from tradingsystem.spec.resource import API_VERSION
from tradingsystem_operator.access import Access
from tradingsystem_operator.objects import TRADING_SYSTEM
from tradingsystem_operator.queue import SystemKey
from tradingsystem_operator.settings import Settings

PREFIX = "operator.tradingsystem.dev"
GROUP, VERSION = API_VERSION.split("/")

Changed = Callable[[SystemKey, dict[str, Any], bool], None]
"""Called with a system's key, its object, and whether it is gone."""


async def hear(changed: Changed, access: Access, settings: Settings) -> None:
    """Tell ``changed``, on this loop, until cancelled. Returns or raises only when kopf gives up."""
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def told(key: SystemKey, thing: dict[str, Any], gone: bool) -> None:
        loop.call_soon_threadsafe(changed, key, thing, gone)

    watch = asyncio.ensure_future(asyncio.to_thread(_watch, registry_of(told, access), settings, stop))
    try:
        await asyncio.shield(watch)
    finally:
        stop.set()
        await asyncio.wait({watch})


def _watch(registry: kopf.OperatorRegistry, settings: Settings, stop: threading.Event) -> None:
    watching = kopf.operator(
        registry=registry,
        settings=settings_of(settings.identity),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stop,
    )
    asyncio.run(watching)


def registry_of(changed: Changed, access: Access) -> kopf.OperatorRegistry:
    """The handlers of one operator."""
    registry = kopf.OperatorRegistry()

    @kopf.on.event(GROUP, VERSION, TRADING_SYSTEM.plural, registry=registry)
    async def on_event(*, namespace: str | None, name: str, event: Any, **_: Any) -> None:
        changed(SystemKey(namespace or "", name), event["object"], event["type"] == "DELETED")

    @kopf.on.login(registry=registry)
    async def on_login(**_: Any) -> kopf.ConnectionInfo:
        return connection_of(access)

    return registry


def connection_of(access: Access) -> kopf.ConnectionInfo:
    """The same server and identity that our own client uses."""
    token = access.token()
    return kopf.ConnectionInfo(
        server=access.server,
        ca_data=access.authority or None,
        insecure=access.insecure,
        certificate_data=access.certificate or None,
        private_key_data=access.key or None,
        scheme="Bearer" if token else None,
        token=token or None,
    )


def settings_of(identity: str) -> kopf.OperatorSettings:
    """kopf's settings: its own events and progress off the objects, watches that notice silence, no rights but on TradingSystems."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.posting.reporting_component = PREFIX
    settings.posting.reporting_instance = identity
    settings.scanning.disabled = True
    settings.persistence.finalizer = f"{PREFIX}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=PREFIX)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=PREFIX)
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.process.ultimate_exiting_timeout = None  # ends with the process; nobody is to be killed by a timer
    return settings
