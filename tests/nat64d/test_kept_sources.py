"""What was set beside the file, kept over a restart: whole, or not at all."""

import json
import os
from pathlib import Path

import pytest

from nat64d.config.errors import Problem
from nat64d.config.load import loads
from nat64d.config.sources import Names, Rows, names_in, rows_in
from nat64d.gateway import kept_sources as module
from nat64d.gateway.kept_sources import KeptSources, take_up_sources
from nat64d.host import checks
from nat64d.host.checks import Report

ROWS = rows_in({"eam": [{"ipv4": "198.51.100.7", "ipv6": "2001:db8::7"}], "pool4": [{"addresses": "192.0.2.9"}]}, "")
TEXT = 'pool6 = "64:ff9b::/96"\n[[pool4]]\naddresses = "192.0.2.1"\n[state]\nfile = "{path}"\n'


@pytest.fixture
def kept(tmp_path: Path) -> KeptSources:
    return KeptSources(tmp_path / "run" / "state")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "check_host", lambda *_: Report([], []))


def write(kept: KeptSources, rows: Rows = ROWS) -> None:
    kept.prepare({"api": rows})
    kept.commit()


def take_up(kept: KeptSources, more: str = ""):
    path = kept.path.with_name("state")
    return take_up_sources("a.toml", loads(TEXT.format(path=path) + more))


def test_it_is_there_again(kept):
    assert kept.read() == {}
    write(kept)
    assert KeptSources(kept.path.with_name("state")).read() == {"api": ROWS}
    sources, complaint = take_up(kept)
    assert (dict(sources.rows), complaint) == ({"api": ROWS}, None)
    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_what_is_only_prepared_is_not_there(kept):
    write(kept)
    kept.prepare({"api": Rows()})
    assert kept.read() == {"api": ROWS}
    kept.prepare({"api": Rows()})
    kept.commit()
    assert kept.read() == {"api": Rows()}


def test_what_would_not_be_read_is_not_written(kept, monkeypatch):
    write(kept)
    size = kept.path.stat().st_size
    monkeypatch.setattr(module, "LARGEST", size)
    write(kept)
    monkeypatch.setattr(module, "LARGEST", size - 1)
    with pytest.raises(OSError, match="File too large"):
        kept.prepare({"api": ROWS})
    assert [path.name for path in kept.path.parent.iterdir()] == [kept.path.name]


def test_every_octet_counts(kept, caplog):
    write(kept)
    good = kept.path.read_bytes()
    for at in range(len(good)):
        for damaged in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            kept.path.write_bytes(damaged)
            assert kept.read() == {}
            assert not kept.path.exists()
    assert "state.sources.damaged, because its checksum is wrong" in caplog.messages[0]
    assert kept.complaint == caplog.messages[-1]


@pytest.mark.parametrize("body", ["[]", "{", '{"api": {"eam": 1}}', '{"api": {"services": []}}', "[" * 100_000])
def test_what_another_version_wrote_is_set_aside(kept, body, caplog):
    write(kept)
    kept.path.write_bytes(module._checksum(body.encode()) + b"\n" + body.encode())
    assert kept.read() == {}
    assert "because it is of another version" in caplog.text


def test_what_is_no_file_of_ours_is_not_read(kept, caplog):
    write(kept)
    real = kept.path.rename(kept.path.with_name("elsewhere"))
    kept.path.symlink_to(real)
    assert kept.read() == {}
    os.mkfifo(kept.path)
    assert kept.read() == {}
    assert "it is no file of this user" in caplog.text
    assert json.loads(real.read_bytes().partition(b"\n")[2])


def test_what_does_not_go_together_with_the_file_any_more_is_set_aside_with_a_sentence(kept):
    write(kept)
    sources, complaint = take_up(kept, '[[eam]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8::8"\n')
    assert sources.rows == {}
    assert "does not go together with a.toml: api: [[eam]] #1 ipv4" in complaint
    assert "What was set beside the configuration file is not in use." in complaint
    assert take_up(kept)[1] is None


def test_so_is_what_does_not_fit_the_host(kept, monkeypatch):
    def check(config, name: str) -> Report:
        return Report([Problem(name, "[[eam]]", "", "no")] if config.eam else [], [])

    monkeypatch.setattr(checks, "check_host", check)
    write(kept)
    sources, complaint = take_up(kept)
    assert sources.rows == {}
    assert "does not fit this host: a.toml and api: [[eam]]: no." in complaint


def test_but_not_where_the_file_alone_does_not_fit_either(kept, monkeypatch):
    monkeypatch.setattr(checks, "check_host", lambda *_: Report([Problem("a.toml", "", "", "no")], []))
    write(kept)
    assert take_up(kept)[0].rows == {"api": ROWS}


# ---- changes of services, behind the rest

SERVICE = {"name": "web", "ipv4": "192.0.2.1:80", "endpoints": ["[2001:db8::1]:80"]}


def rows_of(*names: str, port: int = 80) -> Rows:
    return rows_in({"service": [{**SERVICE, "name": name, "ipv4": f"192.0.2.1:{port}"} for name in names]}, "")


def names_of(*names: str) -> Names:
    return names_in({"service": [{"name": name} for name in names]}, "")


def read(kept: KeptSources) -> dict[str, list[tuple[str, str | None]]]:
    rows = KeptSources(kept.path.with_name("state")).read()
    return {source: [(one.name, one.ipv4) for one in said.service] for source, said in rows.items()}


def test_a_change_is_written_behind_and_counts_when_it_is_committed(kept):
    assert not kept.prepare_change("api", names_of(), rows_of("a"))  # nobody knows what is there
    write(kept, rows_of("a", "b", "c"))
    inode = kept.path.stat().st_ino
    assert kept.prepare_change("api", names_of("c"), rows_of("a", "d", port=81))
    assert [name for name, _ in read(kept)["api"]] == ["a", "b", "c"]
    assert kept.commit() is None
    after = [("b", "192.0.2.1:80"), ("a", "192.0.2.1:81"), ("d", "192.0.2.1:81")]
    assert read(kept) == {"api": after}
    assert kept.prepare_change("other", names_of(), rows_of("e"))  # comes to nothing
    assert kept.prepare_change("kubernetes", names_of("x"), rows_of("f"))
    assert kept.commit() is None
    assert read(kept) == {"api": after, "kubernetes": [("f", "192.0.2.1:80")]}
    assert kept.path.stat().st_ino == inode
    write(kept)
    assert (KeptSources(kept.path.with_name("state")).read(), kept.path.stat().st_ino != inode) == ({"api": ROWS}, True)


def test_what_is_not_about_services_is_written_as_a_whole(kept):
    write(kept, rows_of("a"))
    assert not kept.prepare_change("api", names_of(), ROWS)
    assert not kept.prepare_change("api", names_in({"eam": [{"ipv4": "198.51.100.7"}]}, ""), Rows())


def test_so_is_a_change_after_many_and_where_the_file_is_another_one(kept, monkeypatch):
    write(kept, rows_of("a"))
    monkeypatch.setattr(module, "LITTLE", 1000)
    count = 0
    while kept.prepare_change("api", names_of(), rows_of(f"n{count}")):
        assert kept.commit() is None
        count += 1
    assert 2 < count < 9
    assert [name for name, _ in read(kept)["api"]] == ["a", *(f"n{number}" for number in range(count))]
    write(kept, rows_of("a"))
    kept.path.write_bytes(b"")
    assert not kept.prepare_change("api", names_of(), rows_of("b"))
    kept.path.rename(kept.path.with_suffix(".was"))  # so that no other file gets its inode
    assert not kept.prepare_change("api", names_of(), rows_of("b"))
    kept.path.write_bytes(b"x" * 1000)
    assert not kept.prepare_change("api", names_of(), rows_of("b"))


def test_a_file_that_goes_before_a_change_counts_is_said(kept):
    write(kept, rows_of("a"))
    assert kept.prepare_change("api", names_of(), rows_of("b"))
    kept.path.unlink()
    assert "not kept" in (kept.commit() or "")
    assert not kept.prepare_change("api", names_of(), rows_of("b"))


def test_every_octet_of_a_change_counts(kept):
    write(kept, rows_of("a"))
    whole = kept.path.stat().st_size
    assert kept.prepare_change("api", names_of(), rows_of("b"))
    pending = kept.path.read_bytes()
    for size in range(whole + 2, len(pending)):  # torn while it was written
        kept.path.write_bytes(pending[:size])
        assert [name for name, _ in read(kept)["api"]] == ["a"]
    good = pending[: whole + 1] + b"+" + pending[whole + 2 :]
    for at in range(whole, len(good)):
        for damaged in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            kept.path.write_bytes(damaged)
            assert [name for name, _ in read(kept).get("api", ())] == (["a"] if at == whole == len(damaged) else [])
            assert kept.path.exists() == (at == whole == len(damaged))
