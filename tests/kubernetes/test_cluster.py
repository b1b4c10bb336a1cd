"""Which API server is meant, and who we are to it."""

from pathlib import Path

import pytest
from lightkube.config import kubeconfig

from nat64d.kubernetes.cluster import client_of, configuration
from tests.kubernetes.mirrored import QUICK


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files and variables that a Pod of an IPv6-only cluster has; its folder."""
    for name, text in (("token", "secret"), ("namespace", "nat64d"), ("ca.crt", "")):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00:10:96::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr(kubeconfig.KubeConfig.from_env.__func__, "__defaults__", (tmp_path, "/nonexistent"))
    return tmp_path


def test_in_a_pod_it_is_the_pod(pod: Path) -> None:
    found = configuration(None)
    assert found.cluster.server == "https://[fd00:10:96::1]:443"
    assert found.cluster.certificate_auth == str(pod / "ca.crt")
    assert (found.user.token, found.user.token_file) == ("secret", str(pod / "token"))


def test_a_kubeconfig_that_is_named_goes_first(pod: Path) -> None:
    (pod / "config").write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
        "clusters: [{name: a, cluster: {server: 'https://api.example:6443', insecure-skip-tls-verify: true}}]\n"
        "users: [{name: a, user: {token: other}}]\n"
    )
    assert configuration(pod / "config").cluster.server == "https://api.example:6443"
    assert str(client_of(pod / "config", QUICK).base_url) == "https://api.example:6443"
