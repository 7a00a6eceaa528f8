"""How to reach an API server and as whom: the pod's service account inside a cluster, a kubeconfig outside of one. Its token is read again and again.

Refuses what it cannot do safely (programs named by a kubeconfig are not run) and never prints a credential.
"""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tradingsystem.domain.errors import InvalidInput

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One server and one identity. Certificates are PEM text; ``token_file`` is read anew each time, since the kubelet rotates it."""

    server: str
    authority: str = ""
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    fixed_token: str = field(default="", repr=False)
    token_file: Path | None = None
    insecure: bool = False

    def token(self) -> str:
        """The bearer token as it is now; empty when a certificate is used instead. Raises ``InvalidInput`` when its file cannot be read."""
        if self.token_file is None:
            return self.fixed_token
        try:
            return self.token_file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise InvalidInput(f"the token {self.token_file} cannot be read ({error.strerror})") from error

    def tls(self) -> ssl.SSLContext:
        """The context for connections to it."""
        context = ssl.create_default_context(cadata=self.authority or None)
        if self.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.certificate:
            with tempfile.NamedTemporaryFile(suffix=".pem") as pair:  # the ssl module takes a client's key from a file only
                pair.write(f"{self.certificate}\n{self.key}".encode())
                pair.flush()
                context.load_cert_chain(pair.name)
        return context


def find(kubeconfig: Path | None, environment: Mapping[str, str]) -> Access:
    """The given kubeconfig, else the pod's account, else the usual kubeconfig. Raises ``InvalidInput``."""
    if kubeconfig is not None:
        return from_kubeconfig(kubeconfig)
    if environment.get("KUBERNETES_SERVICE_HOST") and SERVICE_ACCOUNT.is_dir():
        return in_cluster(environment)
    named = environment.get("KUBECONFIG", "").split(os.pathsep)[0]
    return from_kubeconfig(Path(named) if named else Path.home() / ".kube" / "config")


def in_cluster(environment: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Access:
    """The service account of this pod. Raises ``InvalidInput`` naming what is missing."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        authority = (folder / "ca.crt").read_text(encoding="ascii")
    except OSError as error:
        raise InvalidInput(f"{folder / 'ca.crt'} cannot be read ({error.strerror}); is the service account's token mounted?") from error
    return Access(server=f"https://{f'[{host}]' if ':' in host else host}:{port}", authority=authority, token_file=folder / "token")


def from_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig. Raises ``InvalidInput`` saying what in it cannot be used."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"kubeconfig {path} cannot be read ({error.strerror}); name one with --kubeconfig or KUBECONFIG") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"kubeconfig {path} is not YAML") from error
    try:
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        server = str(cluster["server"])
    except (KeyError, TypeError) as error:
        raise InvalidInput(f"kubeconfig {path}: {error} is missing; its current-context must name a cluster and a user") from error
    if "exec" in user or "auth-provider" in user:
        raise InvalidInput(
            f"kubeconfig {path}: the user's credentials come from a program, which is not run here; use a token or a certificate"
        )
    return Access(
        server=server.rstrip("/"),
        authority=_material(cluster, "certificate-authority", path),
        certificate=_material(user, "client-certificate", path),
        key=_material(user, "client-key", path),
        fixed_token=str(user.get("token", "")),
        token_file=path.parent / user["tokenFile"] if user.get("tokenFile") else None,
        insecure=bool(cluster.get("insecure-skip-tls-verify", False)),
    )


def _named(config: Mapping[str, Any], section: str, name: str) -> dict[str, Any]:
    for each in config[section]:
        if each["name"] == name:
            found: dict[str, Any] = each
            return found
    raise KeyError(f"{section}: {name}")


def _material(holder: Mapping[str, Any], name: str, path: Path) -> str:
    """PEM that stands in the kubeconfig or in a file beside it."""
    if inline := holder.get(f"{name}-data"):
        with contextlib.suppress(ValueError):
            return base64.b64decode(inline).decode("ascii")
        raise InvalidInput(f"kubeconfig {path}: {name}-data is not base64")
    if not (file := holder.get(name)):
        return ""
    try:
        return (path.parent / str(file)).read_text(encoding="ascii")
    except OSError as error:
        raise InvalidInput(f"kubeconfig {path}: {name} {file} cannot be read ({error.strerror})") from error
