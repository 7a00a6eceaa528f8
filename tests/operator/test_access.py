"""How the operator finds its API server: what a kubeconfig or a pod gives it, and one clear sentence for each way in which neither does."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.keys import Authority
from tradingsystem.domain.errors import InvalidInput
from tradingsystem_operator.access import Access, find, from_kubeconfig, in_cluster


def written(path: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None, **more: Any) -> Path:
    config = {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": "https://example:6443/"} | (cluster or {})}],
        "users": [{"name": "me", "user": user}],
    }
    path.write_text(yaml.safe_dump(config | more), encoding="utf-8")
    return path


def test_certificates_are_taken_from_the_file_or_from_beside_it(tmp_path: Path) -> None:
    """Both ways in which kubeconfigs carry them give a context that TLS accepts."""
    keys = Authority(tmp_path / "keys")
    keys.client("admin", "admin", "system:masters")
    inline = {
        "client-certificate-data": base64.b64encode((tmp_path / "keys/admin.crt").read_bytes()).decode(),
        "client-key-data": base64.b64encode((tmp_path / "keys/admin.key").read_bytes()).decode(),
    }
    beside = {"client-certificate": "keys/admin.crt", "client-key": "keys/admin.key"}
    cluster = {"certificate-authority": "keys/ca.crt"}
    first = from_kubeconfig(written(tmp_path / "a.conf", inline, cluster))
    second = from_kubeconfig(written(tmp_path / "b.conf", beside, cluster))
    assert first == second
    assert first.server == "https://example:6443"
    first.tls()
    assert "PRIVATE KEY" not in repr(first)


def test_a_token_file_is_read_anew_each_time(tmp_path: Path) -> None:
    """The kubelet rotates a pod's token: one that was read at the start is refused an hour later."""
    (tmp_path / "ca.crt").write_text("authority", encoding="ascii")
    token = tmp_path / "token"
    token.write_text("first\n", encoding="ascii")
    access = in_cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}, tmp_path)
    assert (access.server, access.token()) == ("https://10.0.0.1:6443", "first")
    token.write_text("second\n", encoding="ascii")
    assert access.token() == "second"
    assert "second" not in repr(access)
    token.unlink()
    with pytest.raises(InvalidInput, match="token"):
        access.token()


def test_an_address_of_the_sixth_version_is_bracketed(tmp_path: Path) -> None:
    """Clusters with IPv6 only exist."""
    (tmp_path / "ca.crt").write_text("authority", encoding="ascii")
    assert in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path).server == "https://[fd00::1]:443"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not YAML"),
        ("a: 1", "is missing"),
        ("[]", "is missing"),
        ("current-context: x\ncontexts: []", "contexts: x"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    """One sentence, never a traceback."""
    path = tmp_path / "config"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=says) as caught:
        from_kubeconfig(path)
    assert str(path) in str(caught.value)


def test_programs_that_a_kubeconfig_names_are_not_run(tmp_path: Path) -> None:
    """An operator that starts whatever a file says would be somebody else's."""
    with pytest.raises(InvalidInput, match="program"):
        from_kubeconfig(written(tmp_path / "config", {"exec": {"command": "touch"}}))


def test_the_given_file_goes_before_the_pod_and_the_environment(tmp_path: Path) -> None:
    """Who names a cluster means that one."""
    path = written(tmp_path / "given", {"token": "t"})
    environment = {"KUBECONFIG": str(written(tmp_path / "other", {"token": "o"})), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert find(path, environment).fixed_token == "t"
    assert find(None, environment).fixed_token == "o"
    with pytest.raises(InvalidInput, match="--kubeconfig"):
        find(tmp_path / "absent", {})


def test_a_token_goes_with_every_request_and_into_no_text() -> None:
    """Not even into the text of an error about it."""
    assert "canary" not in repr(Access(server="https://x", fixed_token="canary"))
