"""The mirror between the fake API server and the rules of the daemon: what comes is there, what goes is gone."""

from nat64d.config.load import loads
from tests.kubernetes.fake.kinds import SERVICES, SLICES
from tests.kubernetes.mirrored import Mirrored, until
from tests.kubernetes.objects import DRAINING, GONE, end, port, service, slice_

ROW = "default/web/http"
A, B, C = ("[2001:db8:1::1]:8080", "[2001:db8:1::2]:8080", "[2001:db8:1::3]:8080")


def test_an_endpoint_comes_drains_and_goes(fake, daemon, mirror):
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3"))
    until(lambda: daemon.ends() == {A: 1, B: 1, C: 1})
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1", end("2001:db8:1::2", DRAINING)))
    until(lambda: daemon.ends() == {A: 1, B: 0})
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1", end("2001:db8:1::2", GONE)))
    until(lambda: daemon.ends() == {A: 1})
    fake.set(SLICES, slice_("web-1"))
    until(lambda: daemon.ends() == {})
    assert daemon.rows[ROW].ipv4 == "192.0.2.2:80"
    assert (daemon.puts, daemon.patches) == (1, 4)


def test_a_service_comes_changes_and_goes(fake, daemon, mirror):
    fake.set(SERVICES, service("shop", "", port(443, "tls")))
    fake.set(SLICES, slice_("shop-1", "2001:db8:2::1", of="shop", ports=[{"name": "tls", "port": 8443}]))
    fake.set(SERVICES, service("shop", "192.0.2.3", port(443, "tls")))
    until(lambda: daemon.ends("default/shop/tls") == {"[2001:db8:2::1]:8443": 1})
    fake.set(SERVICES, service("shop", "192.0.2.4", port(443, "tls"), sessionAffinity="ClientIP"))
    until(lambda: daemon.rows["default/shop/tls"].affinity == "client")
    assert daemon.rows["default/shop/tls"].ipv4 == "192.0.2.4:443"
    fake.set(SERVICES, service("shop", "192.0.2.4", port(443, "tls"), type="ClusterIP"))
    until(lambda: [*daemon.rows] == [ROW])
    fake.delete(SERVICES, "web")
    until(lambda: not daemon.rows)


def test_what_the_daemon_refuses_keeps_nothing_else_away(fake, daemon, mirror):
    fake.set(SERVICES, service("thief", "192.0.2.2"))
    fake.set(SERVICES, service("good", "192.0.2.5"))
    until(lambda: "default/good/http" in daemon.rows)
    until(lambda: "default/thief/http" in mirror.mirror.teller.refused)
    assert "192.0.2.2:80" in mirror.mirror.teller.refused["default/thief/http"]
    fake.delete(SERVICES, "web")
    until(lambda: {*daemon.rows} == {"default/good/http", "default/thief/http"})


def test_of_two_with_one_address_the_older_one_has_it(fake, daemon, tmp_path):
    fake.set(SERVICES, service("a", "192.0.2.2"))
    fake.set(SERVICES, service("b", "192.0.2.2"))
    for name, year in (("a", 2026), ("b", 2025)):
        key = fake.key(SERVICES, name)
        with fake.store.lock:
            fake.store.objects[key]["metadata"]["creationTimestamp"] = f"{year}-01-01T00:00:00Z"
    with Mirrored(fake, daemon, tmp_path / "kubeconfig") as mirror:
        until(lambda: "default/a/http" in mirror.mirror.teller.refused)
        assert [*daemon.rows] == ["default/b/http"]


def test_a_row_that_becomes_a_bad_one_stays_unless_its_address_was_another(fake, daemon, mirror):
    fake.set(SERVICES, service("web", "192.0.2.2", annotations={"nat64d.io/client-prefix": "nonsense"}))
    until(lambda: ROW in mirror.mirror.teller.refused)
    assert daemon.ends() == {A: 1, B: 1}
    fake.set(SERVICES, service("web", "192.0.2.9", annotations={"nat64d.io/client-prefix": "nonsense"}))
    until(lambda: not daemon.rows)
    fake.set(SERVICES, service("web", "192.0.2.9"))
    until(lambda: daemon.ends() == {A: 1, B: 1})


def test_an_endpoint_that_is_an_ipv4_host_is_left_out_as_pool6_says(fake, daemon, mirror, caplog):
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1", "64:ff9b:1::1", "64:ff9b:2::1"))
    until(lambda: daemon.ends() == {A: 1, "[64:ff9b:2::1]:8080": 1})
    assert "default/web: port 80: 1 endpoints are inside pool6, and left out" in caplog.text
    file = loads('pool6 = "64:ff9b:2::/96"\n', "file")
    daemon.sources = daemon.sources._replace(file=file, rows={})
    daemon.restart()
    until(lambda: daemon.ends() == {A: 1, "[64:ff9b:1::1]:8080": 1})


def test_a_daemon_that_was_away_is_told_what_it_lacks(fake, daemon, mirror):
    daemon.gone = True
    fake.set(SLICES, slice_("web-1", "2001:db8:1::3"))
    until(lambda: mirror.mirror.lost_since is not None)
    daemon.gone = False
    until(lambda: daemon.ends() == {C: 1})
    until(lambda: mirror.mirror.lost_since is None)
    daemon.restart(forgets=True)
    until(lambda: daemon.ends() == {C: 1})


def test_what_another_has_set_in_its_name_is_put_right_with_the_next_change(fake, daemon, mirror):
    daemon.sources = daemon.sources._replace(rows={})
    fake.set(SLICES, slice_("web-1", "2001:db8:1::3"))
    until(lambda: daemon.ends() == {C: 1})
