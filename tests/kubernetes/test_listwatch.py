"""Whatever becomes of the API server: what the daemon has stays, and what was missed is made up for."""

import logging

import pytest

from tests.kubernetes.fake.faults import Refusal
from tests.kubernetes.fake.kinds import SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import Book, Mirrored, until, write_kubeconfig
from tests.kubernetes.objects import service, slice_

A, B, C = ("[2001:db8:1::1]:8080", "[2001:db8:1::2]:8080", "[2001:db8:1::3]:8080")


def lost(mirror: Mirrored) -> bool:
    return all(one.contact.since is not None for one in mirror.followers)


def lists(mirror: Mirrored) -> list[int]:
    return [one.contact.lists for one in mirror.followers]


def change(fake: Fake) -> None:
    """What is missed: one endpoint goes, another one comes, and a Service goes."""
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1", "2001:db8:1::3"))
    fake.set(SERVICES, service("late", "192.0.2.7"))


def caught_up(daemon: Book) -> bool:
    return daemon.ends() == {A: 1, C: 1} and "default/late/http" in daemon.rows


def test_a_server_that_is_killed_for_a_moment_goes_on_from_the_last_version(fake, daemon, mirror):
    before = lists(mirror)
    fake.kill()
    until(lambda: lost(mirror))
    change(fake)
    assert daemon.ends() == {A: 1, B: 1}
    fake.start()
    until(lambda: caught_up(daemon))
    assert lists(mirror) == before


def test_a_server_that_was_away_for_long_is_read_anew(fake, daemon, mirror, caplog):
    caplog.set_level(logging.INFO, "nat64d")
    before = lists(mirror)
    fake.kill()
    until(lambda: mirror.followers[0].contact.told)
    change(fake)
    fake.delete(SLICES, "web-1")
    fake.store.forget()
    until(lambda: all(one.contact.errors > 15 for one in mirror.followers))
    assert daemon.ends() == {A: 1, B: 1}
    fake.start()
    until(lambda: daemon.ends() == {} and "default/late/http" in daemon.rows)
    until(lambda: all(one > first for one, first in zip(lists(mirror), before, strict=True)))
    until(lambda: caplog.text.count("the API server is back after") == 4)
    text = caplog.text
    assert text.count("the API server is lost: no connection to it") == 4
    assert text.count("what is known of them stays in use") == 4


def test_a_half_open_connection_is_noticed(fake, daemon, mirror):
    fake.freeze()
    until(lambda: lost(mirror))
    change(fake)
    assert daemon.ends() == {A: 1, B: 1}
    fake.thaw()
    until(lambda: caught_up(daemon))


@pytest.mark.parametrize("refusal", [Refusal(429, "0"), Refusal(500), Refusal(503)], ids=lambda one: one.status)
def test_refusals_are_waited_out(fake, daemon, mirror, refusal):
    fake.kill()
    fake.faults.refusal = refusal
    fake.start()
    until(lambda: lost(mirror) and mirror.followers[0].contact.errors > 2)
    assert str(refusal.status) in mirror.followers[0].contact.why
    change(fake)
    fake.faults.refusal = None
    until(lambda: caught_up(daemon))


def test_retry_after_is_heeded(fake, daemon, mirror):
    fake.faults.refusal = Refusal(429, "20")
    fake.kill()
    fake.start()
    until(lambda: "429" in mirror.followers[0].contact.why)
    asked = len(fake.requests)
    fake.faults.refusal = None
    until(lambda: fake.watching == 4)  # `obedient` is short in tests
    assert len(fake.requests) - asked <= 12


def test_what_is_forgotten_is_read_anew(fake, daemon, mirror):
    before = lists(mirror)
    with fake.store.lock:  # else a watch may tell of it before it is forgotten
        change(fake)
        fake.store.forget()
    until(lambda: caught_up(daemon))
    until(lambda: lists(mirror) > before)
    assert all(one.contact.since is None for one in mirror.followers)


def test_a_server_restored_from_a_copy_is_believed(fake, daemon, mirror):
    version = fake.store.version
    change(fake)
    until(lambda: caught_up(daemon))
    fake.restore_backup(version)
    until(lambda: daemon.ends() == {A: 1, B: 1} and "default/late/http" not in daemon.rows)


def test_a_copy_that_comes_back_while_a_watch_is_silent_is_noticed(fake, daemon, mirror):
    """As behind a load balancer that keeps the connections."""
    version = fake.store.version
    change(fake)
    until(lambda: caught_up(daemon))
    fake.store.restore(version)
    until(lambda: daemon.ends() == {A: 1, B: 1} and "default/late/http" not in daemon.rows)


@pytest.mark.parametrize("fault", ["cut", "garbage"])
def test_half_a_line_is_no_change(fake, daemon, mirror, fault):
    setattr(fake.faults, fault, True)
    change(fake)
    until(lambda: caught_up(daemon))
    assert sum(one.contact.errors for one in mirror.followers) == 1


def test_a_list_that_breaks_off_is_no_list(fake, daemon, tmp_path):
    for number in range(1100):
        fake.set(SERVICES, service(f"w{number}", f"10.1.{number // 250}.{number % 250}"))
    fake.set(SLICES, slice_("w0-1", "2001:db8:1::1", of="w0"))
    fake.faults.lists_fail_after = 2
    with Mirrored(fake, daemon, tmp_path / "kubeconfig"):
        until(lambda: len(daemon.rows) == 1100)
    assert daemon.puts == 1
    assert any("continue=" in one for one in fake.requests)


def test_nothing_is_said_before_all_was_read(fake, daemon, tmp_path):
    daemon.sources = daemon.sources._replace(rows={})
    fake.faults.tokens = {"a": [{"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]}]}
    fake.set(SERVICES, service())
    path = tmp_path / "kubeconfig"
    with Mirrored(fake, daemon, path) as mirror:
        write_kubeconfig(path, fake.url, "{token: a}")
        until(lambda: mirror.followers[0].contact.synced and mirror.followers[1].contact.errors > 3)
        until(lambda: "does not allow this (403)" in mirror.followers[1].contact.why)
        assert daemon.puts == 0
        fake.faults.tokens = {}
        until(lambda: daemon.puts > 0)


def test_a_token_that_is_rotated_in_its_file_is_read_again(fake, daemon, tmp_path):
    token = tmp_path / "token"
    token.write_text("first")
    fake.faults.tokens = {"first": None}
    fake.set(SERVICES, service())
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1"))
    path = tmp_path / "kubeconfig"
    with Mirrored(fake, daemon, path):
        write_kubeconfig(path, fake.url, f"{{tokenFile: {token}}}")
        until(lambda: daemon.ends() == {A: 1} and fake.watching == 4)
        token.write_text("second")
        fake.faults.tokens = {"second": None}
        fake.kill()
        fake.start()
        fake.set(SLICES, slice_("web-1", "2001:db8:1::2"))
        until(lambda: daemon.ends() == {B: 1})


def test_a_kubeconfig_that_is_replaced_is_read_again(fake, daemon, tmp_path):
    fake.faults.tokens = {"new": None}
    fake.set(SERVICES, service())
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1"))
    path = tmp_path / "kubeconfig"
    with Mirrored(fake, daemon, path) as mirror:
        until(lambda: "does not accept the token" in mirror.followers[0].contact.why)
        path.write_text("nonsense: [")
        until(lambda: "no way to an API server" in mirror.followers[0].contact.why)
        write_kubeconfig(path, fake.url, "{token: new}")
        until(lambda: daemon.ends() == {A: 1})


def test_a_text_with_another_end_of_a_line_in_it_is_one_line(fake, daemon, mirror):
    """U+0085 and U+2028 end a line to Python, and not to an API server."""
    fake.set(SERVICES, service("odd", "192.0.2.8", annotations={"note": "one\u0085two\u2028three"}))
    until(lambda: "default/odd/http" in daemon.rows)
    assert sum(one.contact.errors for one in mirror.followers) == 0


def test_bookmarks_keep_the_version_young(fake, daemon, mirror):
    for number in range(5):
        fake.set(SLICES, slice_("web-1", "2001:db8:1::1", f"2001:db8:1::{number + 2}"))
    version = fake.store.version
    services = mirror.followers[0]
    until(lambda: int(services._version or 0) >= version)
    assert services.contact.lists == 1
