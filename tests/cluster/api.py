"""A plain client of an API server: what was asked, the status that came back, the answer. No retries, no cache, no opinion.

The project's own client would hide what the server said; these tests are about exactly that.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 30.0
IDLE_SECONDS = 20.0  # less than any API server waits before it closes a connection


class Api:
    """One user's way to one API server, by kubeconfig. Not shared between threads."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self._identity = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        if not self._identity:
            with tempfile.NamedTemporaryFile(suffix=".pem") as pair:  # the ssl module takes a client's key from a file only
                pair.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
                pair.flush()
                context.load_cert_chain(pair.name)
        server = urllib.parse.urlsplit(cluster["server"])
        assert server.hostname is not None
        self._asked_at = time.monotonic()
        self._connection = http.client.HTTPSConnection(server.hostname, server.port, context=context, timeout=TIMEOUT_SECONDS)

    def table(self, path: str) -> dict[str, Any]:
        """A list as the table that kubectl prints."""
        wanted = "application/json;as=Table;v=v1;g=meta.k8s.io"
        status, answer = self.ask("GET", path, accept=wanted)
        assert status == 200, answer
        table: dict[str, Any] = answer
        return table

    def ask(
        self, method: str, path: str, body: Any = None, content: str = "application/json", accept: str = "application/json"
    ) -> tuple[int, Any]:
        """Status and answer; the answer is JSON where the server says so, else text: a pod's log may begin like JSON."""
        text = None if body is None else json.dumps(body)
        if time.monotonic() - self._asked_at > IDLE_SECONDS:
            self._connection.close()  # it may be closed at the other end; the next request opens a new one
        self._asked_at = time.monotonic()
        try:
            self._connection.request(method, path, text, self._identity | {"Content-Type": content, "Accept": accept})
            response = self._connection.getresponse()
            raw = response.read().decode()
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request opens a new one
            raise
        return response.status, json.loads(raw) if response.headers.get_content_type() == "application/json" else raw

    def close(self) -> None:
        self._connection.close()
