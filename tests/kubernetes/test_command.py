"""`nat64d kubernetes`: options, exit codes, and what probes and Prometheus get."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nat64d.kubernetes.command import who
from nat64d.kubernetes.standing import Row, Standing
from tests.architecture import ROOT, sources
from tests.kubernetes.fake.kinds import SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import until, write_kubeconfig
from tests.kubernetes.objects import service, slice_

NAT64D = Path(sys.executable).with_name("nat64d")


def nat64d(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NAT64D, "kubernetes", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HOME": "/nonexistent", **environment},
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "expected --gateway, --controller or --routes"),
        (("--gateway", "--controller"), "expected --gateway, --controller or --routes"),
        (("--routes",), "expected --prefix with --routes, and not without"),
        (("--routes", "--prefix", "64:ff9b::1/96"), "64:ff9b::1/96: 64:ff9b::1/96 has host bits set"),
        (("--controller", "--kubeconfig", "/nonexistent"), "give --kubeconfig FILE"),
        (("--gateway", "--kubeconfig", "/nonexistent"), "give --kubeconfig FILE"),
        (("--gateway",), "neither a Pod, nor KUBECONFIG, nor ~/.kube/config"),
        (("--gateway", "--listen", "80"), "expected an address and port, as in [::1]:9464"),
    ],
)
def test_what_cannot_be_is_said(words, sentence):
    result = nat64d(*words)
    assert (result.returncode, sentence in result.stderr) == (2, True), result.stderr


def test_who_it_is_comes_from_the_pod_unless_it_is_said(monkeypatch):
    for name, value in (("NODE_NAME", "n"), ("POD_NAMESPACE", "s"), ("HOST_IP", "2001:db8::1")):
        monkeypatch.setenv(name, value)
    assert who(None, None, None) == ("n", "n", "s", "2001:db8::1")
    assert who("g", "m", "", "2001:db8::2") == ("g", "m", "", "2001:db8::2")


def test_a_kubeconfig_that_is_none_is_named(tmp_path):
    for text in ("", "[]", "a: [", "current-context: a\nclusters: []\ncontexts: []\n"):
        (tmp_path / "config").write_text(text)
        result = nat64d("--gateway", "--kubeconfig", tmp_path / "config")
        assert (result.returncode, str(tmp_path / "config") in result.stderr) == (2, True)
        assert "Traceback" not in result.stderr


def test_run_imports_nothing_of_it():
    code = "import sys; import nat64d.cli.app; import nat64d.gateway.run; print(*sys.modules)"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    modules = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment).split()
    assert "nat64d.gateway.run" in modules
    names = {name.partition(".")[0] for name in modules}
    assert not [one for one in modules if one.startswith("nat64d.kubernetes")]
    assert names.isdisjoint({"lightkube", "httpx2", "msgspec"})


def test_without_the_extra_it_says_what_to_install(tmp_path):
    code = "import sys; sys.modules['lightkube'] = None; from nat64d.cli.app import app; app()"
    result = subprocess.run(
        [sys.executable, "-c", code, "kubernetes", "--gateway"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, "pip install 'nat64d[kubernetes]'" in result.stderr) == (2, True)


def test_probes_metrics_and_the_end(tmp_path):
    """The daemon is not there, so it never becomes ready; SIGTERM ends it all the same."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{one.getsockname()[1]}"
    with Fake() as fake, (tmp_path / "log").open("wb") as log:
        fake.set(SERVICES, service())
        fake.set(SLICES, slice_("a", "2001:db8::1"))
        config = write_kubeconfig(tmp_path / "config", fake.url)
        words = ["--gateway", "--kubeconfig", config, "--socket", tmp_path / "api.sock", "--listen", place]
        with subprocess.Popen([NAT64D, "kubernetes", *words], stderr=log) as process:
            try:
                until(lambda: "The daemon is lost" in (tmp_path / "log").read_text(), 30)
                assert got(place, "/healthz") == (200, "ok\n")
                assert got(place, "/readyz") == (503, "not synced yet\n")
                samples = metrics(got(place, "/metrics")[1])
                assert samples["nat64d_kubernetes_synced"] == 0
                assert samples["nat64d_kubernetes_services"] == 1
                assert samples["nat64d_kubernetes_stale_seconds"] == 0
                assert '"daemon": "lost"' in got(place, "/status")[1]
            finally:
                process.send_signal(signal.SIGTERM)
        assert process.returncode == 0
    text = (tmp_path / "log").read_text()
    assert f"Mirroring Services of {fake.url}" in text
    assert "Stopped; the daemon keeps what it has" in text


def test_a_daemon_that_does_not_answer_keeps_it_from_nothing(tmp_path):
    """Not from its end, either."""
    with Fake() as fake, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "api.sock"))
        silent.listen()
        fake.set(SERVICES, service())
        config = write_kubeconfig(tmp_path / "config", fake.url)
        words = ["--gateway", "--kubeconfig", config, "--socket", tmp_path / "api.sock"]
        with subprocess.Popen([NAT64D, "kubernetes", *words], stderr=subprocess.DEVNULL) as process:
            asked, _ = silent.accept()
            with asked:
                process.send_signal(signal.SIGTERM)
                assert process.wait(9) == 0  # it would be given up after 10 s


def test_the_routes_of_a_node_are_asked_for_probed_and_stay(tmp_path):
    """There is no gateway, so it never becomes ready, and sets nothing."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{one.getsockname()[1]}"
    with Fake() as fake, (tmp_path / "log").open("wb") as log:
        config = write_kubeconfig(tmp_path / "config", fake.url)
        words = ["--routes", "--prefix", "2001:db8:c::/96", "--kubeconfig", config, "--listen", place]
        with subprocess.Popen([NAT64D, "kubernetes", *words], stderr=log) as process:
            try:
                until(lambda: fake.watching == 1, 30)
                assert got(place, "/readyz")[0] == 503
                samples = metrics(got(place, "/metrics")[1])
                assert (samples["nat64d_kubernetes_gateways"], samples["nat64d_kubernetes_next_hops"]) == (0, 0)
                assert '"next_hops": {}' in got(place, "/status")[1]
            finally:
                process.send_signal(signal.SIGTERM)
        assert process.returncode == 0
    assert "Stopped; all stays as it is" in (tmp_path / "log").read_text()


def got(place: str, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://{place}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def metrics(text: str) -> dict[str, float]:
    return {one.name: one.value for family in text_string_to_metric_families(text) for one in family.samples}


def test_the_page_has_every_event_of_the_log():
    texts = "".join(source.text for source in sources("nat64d") if "/kubernetes/" in source.path)
    page = (ROOT / "docs/kubernetes.md").read_text("utf-8").partition("## What the log says")[2]
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(re.findall(r'"event": "(\w+)"', texts))


def test_a_counter_above_a_million_is_told_to_the_last_one():
    class Counting(Standing):
        is_ready = True

        def about(self) -> dict[str, object]:
            return {}

        def rows(self) -> list[Row]:
            return [("changes_total", "counter", "Changes.", {"": 12_345_678.0})]

    async def story() -> None:
        assert "nat64d_kubernetes_changes_total 12345678" in [*Counting([]).metrics()]

    asyncio.run(story())
