"""Three real nats-servers as one JetStream cluster on loopback, configured as a person would: the account that the product prints, and what its page asks for.

Members find each other through a fault proxy before the first one, so that it can be cut off from the others while its clients still reach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import nats
import nats.errors

from tests.faults.proxy import FaultProxy
from tests.promises.server import stall
from tradingsystem.adapters.nats import NatsSettings
from tradingsystem.messages.permissions import permissions
from tradingsystem.messages.server import MESSAGE_BYTES_MAX, account, login_prefix, password_variable
from tradingsystem.process.nats_server import free_ports, program

SIZE = 3
PORTS = 3  # of a member
ADMINISTRATOR = "administrator"
NOBODY = 9  # the discard port: members are told of no way to each other but the given ones


class Member:
    """One server of the cluster."""

    def __init__(self, number: int, folder: Path, ports: tuple[int, ...]) -> None:
        self.name, self.folder = f"member-{number}", folder / f"member-{number}"
        self.client_port, self.cluster_port, self.monitoring_port = ports
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.client_port}"

    def write(self, routes: list[int], *, seen_at: int, users: str) -> None:
        """Its configuration. ``seen_at``: the port that others are told of."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "users.conf").write_text(users)
        settings: dict[str, Any] = {
            "server_name": self.name,
            "listen": f"127.0.0.1:{self.client_port}",
            "http": f"127.0.0.1:{self.monitoring_port}",
            "max_payload": MESSAGE_BYTES_MAX,
            "jetstream": {"store_dir": str(self.folder / "data"), "sync_interval": "always", "max_file_store": 1 << 30},
            "cluster": {
                "name": "three",
                "listen": f"127.0.0.1:{self.cluster_port}",
                "advertise": f"127.0.0.1:{seen_at}",
                "no_advertise": True,
                "routes": [f"nats-route://127.0.0.1:{port}" for port in routes],
            },
        }
        lines = [f"{name}: {json.dumps(value)}" for name, value in settings.items()]
        (self.folder / "nats.conf").write_text("\n".join(["include 'users.conf'", *lines, ""]))

    def launch(self) -> None:
        """Start without waiting."""
        log = self.folder / "nats.log"
        self.process = subprocess.Popen([program(), "-c", str(self.folder / "nats.conf"), "-l", str(log)])

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def pause(self) -> None:
        """Connected and silent, to clients and members alike."""
        assert self.process is not None
        stall(self.process.pid)

    def leads(self, stream: str) -> bool:
        """Whether it says that it leads a stream."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitoring_port}/jsz?streams=1&accounts=1", timeout=5) as answer:
            told = json.load(answer)
        streams = [each for one in told.get("account_details") or [] for each in one.get("stream_detail") or []]
        return any(each["name"] == stream and (each.get("cluster") or {}).get("leader") == self.name for each in streams)


class RunningCluster:
    """Three members. ``between``: the only way between the first and the others."""

    def __init__(self, folder: Path, system: str = "testing") -> None:
        self.system = system
        ports = free_ports(PORTS * SIZE)
        self.members = [Member(place + 1, folder, ports[PORTS * place : PORTS * (place + 1)]) for place in range(SIZE)]
        self.between = FaultProxy(self.members[0].cluster_port)

    def start(self) -> None:
        """Start; members that connect wait for a leader."""
        self.between.start()
        rows = permissions(self.system)
        given = "".join(f'{password_variable(self.system, row.user)}: "{self._password(row.user)}"\n' for row in rows)
        everything = json.dumps({"user": ADMINISTRATOR, "password": ADMINISTRATOR})
        users = given + account(self.system).decode().replace('"users": [', f'"users": [{everything},', 1)
        first, second, third = self.members
        first.write([NOBODY], seen_at=self.between.port, users=users)
        second.write([self.between.port], seen_at=NOBODY, users=users)
        third.write([self.between.port, second.cluster_port], seen_at=NOBODY, users=users)
        for member in self.members:
            member.launch()

    def _password(self, user: str) -> str:
        return f"secret of {user}"

    def as_user(self, user: str, *, members: list[Member] | None = None, replicas: int = SIZE, **changes: Any) -> NatsSettings:
        """How ``user`` connects, to any of these members."""
        return NatsSettings(
            url=",".join(member.url for member in members or self.members),
            system=self.system,
            user=user,
            login=login_prefix(self.system) + user,
            password=self._password(user),
            replicas=replicas,
            **changes,
        )

    def leader(self, stream: str) -> Member | None:
        """Who leads a stream; None while nobody does."""
        return next((member for member in self.members if member.process is not None and member.leads(stream)), None)

    async def let_lead(self, member: Member, stream: str) -> None:
        """Return when this member leads a stream."""
        client = await nats.connect(member.url, user=ADMINISTRATOR, password=ADMINISTRATOR)
        wish = json.dumps({"placement": {"preferred": member.name}}).encode()
        async with asyncio.timeout(20):
            while self.leader(stream) is not member:
                with contextlib.suppress(nats.errors.Error):
                    await client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", wish, timeout=1)
        await client.close()

    async def forget(self, stream: str) -> None:
        """Remove a stream, as only an administrator can."""
        client = await nats.connect(self.members[0].url, user=ADMINISTRATOR, password=ADMINISTRATOR)
        await client.request(f"$JS.API.STREAM.DELETE.{stream}", b"", timeout=10)
        await client.close()

    def stop(self) -> None:
        """End every member. Idempotent."""
        for member in self.members:
            if member.process is not None:
                member.kill()
        self.between.stop()
