"""nat64d/dataplane/bpf: the object, its instructions, and what the kernel says of them."""

import ctypes
import errno
import os
import re
import struct
import sys
import threading
from pathlib import Path

import pytest

from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.dataplane.bpf import attach, kept, privilege, system
from nat64d.dataplane.bpf.kept import BuildError, built_object, file_of_object, kept_object
from nat64d.dataplane.bpf.link import SECTION, LinkError, calls, link, relocations
from nat64d.dataplane.bpf.maps import Maps
from nat64d.dataplane.bpf.numbers import arrays_of, parameters_of, ranges_of, refusal
from tests.architecture import ROOT
from tests.established import CONFIGS
from tests.fastpath import context, ethernet
from translator.fastpath.kernel import BARRED, MAPPED, MAPS, NOT_EMBEDDED, OURS, PARAMETERS
from translator.fastpath.reasons import Reason

HELPERS = {1, 5, 8, 9, 11, 23, 31, 40, 160}  # of translator/fastpath/kernel.py
VERIFIED = 1_000_000  # instructions that the verifier of Linux 5.2 and newer looks at before it gives up
BEFORE_6_6 = [int(number) for number in re.findall(r"\d+", os.uname().release)[:2]] < [6, 6]
ROOM = VERIFIED // (2 if BEFORE_6_6 else 4)  # that of 6.1 looks at two and a half times as much as that of 6.18
NOTHING = struct.pack("<BBhi", 0xB7, 0, 0, 0)  # r0 = 0
END = struct.pack("<BBhi", 0x95, 0, 0, 0)
OTHER = struct.pack("<BBhi", 0x85, 0x10, 0, 1)  # a call of a function of its own


def linked() -> bytes:
    return link(kept_object(), SECTION, dict.fromkeys(MAPS, 3), dict.fromkeys(PARAMETERS, 5))


def permitted(step):
    """Skip where this machine's kernel lets nobody in."""
    try:
        return step()
    except system.SystemCallError as error:
        if error.errno != errno.EPERM:
            raise
        pytest.skip(f"bpf(2) is refused: {error}")


def test_the_same_sources_give_the_same_object(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert built_object() == kept_object()


def test_nothing_is_called_but_helpers_of_the_kernel():
    code = linked()
    assert set(calls(code)) == HELPERS
    assert {name for _, name in relocations(kept_object(), SECTION)} == {*MAPS, *PARAMETERS}


def test_a_call_of_another_function_is_found():
    with pytest.raises(LinkError, match="instruction 1 calls another function"):
        calls(NOTHING + OTHER + END)


def test_what_nobody_names_is_not_linked():
    with pytest.raises(LinkError, match="nobody says what"):
        link(kept_object(), SECTION, {}, {})
    with pytest.raises(LinkError, match="no ELF file"):
        link(b"octets", SECTION, {}, {})


def test_the_kernel_runs_it():
    settings = settings_of(loads(CONFIGS["well-known"]), bytes(16))
    maps, tables = Maps(), tables_of(loads(CONFIGS["well-known"] + "[limits]\nsessions = 64\n"), settings)
    tables = permitted(lambda: maps.share(tables))
    maps.fill(settings, len(tables.sessions))
    maps.hear(2)
    numbers = parameters_of(settings, tables, system.possible_cpus(), 2) | {"link_header": 14}
    program = system.load(link(kept_object(), SECTION, maps.fds, numbers))
    frame = ethernet(b"\0" * 60)
    ran = system.try_out(program, frame, context(0, 0), 3)
    assert (ran.verdict, ran.octets) == (0, frame)
    assert maps.counted()[Reason.NOT_IP].tolist() == [3, 180, 0]
    os.close(program)
    maps.close()


def test_a_table_in_a_map_is_the_one_that_was_given():
    config = loads(CONFIGS["well-known"] + "[limits]\nsessions = 64\n")
    plain, maps = tables_of(config, settings_of(config, bytes(16))), Maps()
    plain.sessions[3].mapped4 = 77
    shared = permitted(lambda: maps.share(plain))
    maps.close()
    assert shared.sessions[3].mapped4 == 77
    assert shared.sessions.dtype == plain.sessions.dtype
    assert len(shared.sessions6) == len(plain.sessions6)


def test_the_verifier_s_words_are_told():
    with pytest.raises(system.SystemCallError) as told:
        permitted(lambda: system.load(END))
    assert told.value.said.splitlines()[-1] == "R0 !read_ok"


def test_an_object_is_built_once(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "file_of_object", lambda: tmp_path / "x.bpf")
    monkeypatch.setattr(kept.cache, "is_writable", lambda: True)
    monkeypatch.setattr(kept.cache, "distrust", lambda _: None)
    monkeypatch.setattr(kept, "built_object", lambda: b"one")
    assert kept_object() == b"one"
    monkeypatch.setattr(kept, "built_object", lambda: b"two")
    assert kept_object() == b"one"
    assert [file.name for file in tmp_path.iterdir()] == ["x.bpf"]


def test_what_others_can_write_to_is_not_read(monkeypatch, tmp_path):
    (tmp_path / "x.bpf").write_bytes(b"theirs")
    monkeypatch.setattr(kept, "file_of_object", lambda: tmp_path / "x.bpf")
    monkeypatch.setattr(kept.cache, "distrust", lambda _: "other users may write to it")
    monkeypatch.setattr(kept, "built_object", lambda: b"ours")
    assert kept_object() == b"ours"


def test_a_shipped_object_is_taken_where_it_is_of_these_sources(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "file_of_object", lambda: tmp_path / "x.bpf")
    monkeypatch.setattr(kept, "built_object", lambda: b"built")
    monkeypatch.setattr(kept, "BUILDER", tmp_path / "build.py")
    (tmp_path / "build.py").write_text("1")
    kept.file_beside().write_bytes(b"shipped")
    assert kept.is_kept()
    assert kept_object() == b"shipped"
    (tmp_path / "build.py").write_text("2")
    assert not kept.is_kept()
    assert kept_object() == b"built"


def test_the_object_lies_beside_the_machine_code():
    assert file_of_object().parent == kept.cache.cache_directory()
    assert file_of_object().suffix == ".bpf"


def test_a_compiler_that_fails_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BuildError, match="the compiler ended with 1"):
        built_object()
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho first >&2\necho 'no LLVM' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(BuildError, match=r"^no LLVM$"):
        built_object()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(BuildError, match="No such file"):
        built_object()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_verifier_has_room_for_more(name):
    config = loads(CONFIGS[name] + "[limits]\nsessions = 64\n")
    settings, maps = settings_of(config, bytes(16)), Maps()
    assert refusal(settings) is None
    tables = permitted(lambda: maps.share(tables_of(config, settings)))
    maps.fill(settings, len(tables.sessions))
    maps.hear(2)
    code = link(kept_object(), SECTION, maps.fds, parameters_of(settings, tables, system.possible_cpus(), 2))
    program = system.load(code)
    maps.close()
    assert system.verified(program) < ROOM
    os.close(program)


EAM = '[[eam]]\nipv4 = "192.0.2.1"\nipv6 = "2001:db8::1"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (EAM, "there is no pool6"),
        ('[clat]\nipv4 = "192.0.0.1"\nipv6 = "2001:db8::1"\nplat = "64:ff9b::/96"\n', "packets of [clat]"),
        (
            CONFIGS["hairpins"]
            + "".join(f'[[eam]]\nipv4 = "192.{k}.0.0/{k}"\nipv6 = "2001:db8:{k:x}::/96"\n' for k in range(24, 33)),
            "more than 8 prefix lengths",
        ),
    ],
)
def test_where_there_is_no_fast_path(text, why):
    assert why in refusal(settings_of(loads(text), bytes(16)))


def test_what_holds_for_addresses_is_in_ranges_that_do_not_overlap():
    text = CONFIGS["hairpins"].replace("198.51.100.2", "198.51.100.3").replace("64:ff9b::", "2a00::")
    text += '[translation]\ndenylist4 = ["198.51.100.2/31", "198.51.100.4/31", "223.255.255.255/32"]\n'
    ranges = ranges_of(settings_of(loads(text), bytes(16)))
    assert [(*map(hex, row[:2]), row[2]) for row in ranges.tolist()] == [
        ("0x0", "0xffffff", BARRED),
        ("0x7f000000", "0x7fffffff", BARRED),
        ("0xa9fe0000", "0xa9feffff", BARRED),
        ("0xc6336401", "0xc6336403", OURS),
        ("0xc6336404", "0xc6336405", BARRED),
        ("0xcb007107", "0xcb007107", OURS | MAPPED),
        ("0xdfffffff", "0xffffffff", BARRED),
    ]


def test_under_the_well_known_prefix_more_holds():
    settings = settings_of(loads(CONFIGS["no sessions"]), bytes(16))
    rows = arrays_of(settings)["addresses"]
    assert len(rows) == parameters_of(settings, tables_of(loads(CONFIGS["no sessions"]), settings), 1)["ranges"]
    assert {NOT_EMBEDDED, NOT_EMBEDDED | BARRED, NOT_EMBEDDED | OURS | MAPPED} <= set(rows[:, 2].tolist())


def test_too_many_ranges_are_refused(monkeypatch):
    monkeypatch.setattr("nat64d.dataplane.bpf.numbers.RANGE_STEPS", 3)
    assert "8 ranges of IPv4 addresses or more" in refusal(settings_of(loads(CONFIGS["hairpins"]), bytes(16)))


def in_effect() -> bool:
    """Whether CAP_BPF is, for this thread."""
    (line,) = (each for each in Path("/proc/thread-self/status").read_text().splitlines() if each.startswith("CapEff"))
    return bool(int(line.split()[1], 16) >> privilege.CAP_BPF & 1)


def in_a_thread(work) -> None:
    """Do work that changes capabilities, which are a thread's own."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_the_capability_is_in_effect_only_while_it_is_needed():
    seen = []

    def work() -> None:
        privilege.lay_down()
        seen.append(in_effect())
        with privilege.taken_up():
            seen.append(in_effect())
        seen.append(in_effect())

    permitted(lambda: system.create_map("x", 8, 1))
    in_a_thread(work)
    assert seen == [False, True, False]


def test_without_the_capability_there_is_none_to_lay_down():
    seen = []

    def work() -> None:
        privilege._libc.capset((ctypes.c_uint32 * 2)(privilege.VERSION, 0), (ctypes.c_uint32 * 6)())
        privilege.lay_down()
        try:
            system.create_map("x", 8, 1)
        except system.SystemCallError as error:
            seen.append(error.errno)

    in_a_thread(work)
    assert seen == [errno.EPERM]


def test_the_page_has_the_drop_in_that_is_shipped():
    lines = (ROOT / "config/systemd/fastpath.conf").read_text("utf-8").splitlines()
    drop_in = "\n".join(line for line in lines if not line.startswith("#"))
    assert f"```ini\n{drop_in}\n```" in (ROOT / "docs/fastpath.md").read_text("utf-8")


def test_a_kernel_without_links_gets_a_filter(monkeypatch):
    changed = []

    def without_links(*_):
        raise system.SystemCallError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(system, "attach", without_links)
    monkeypatch.setattr(attach, "_change", lambda interface, program, *_: changed.append((interface, program)))
    program = permitted(lambda: system.load(NOTHING + END))
    attached = attach.Attached(program, 7)
    (at, calling) = changed[0]
    assert (attached.how, at) == ("clsact", 7)
    attached.close()
    assert changed == [(7, calling), (7, None)]
    monkeypatch.setattr(attach, "_change", without_links)
    with pytest.raises(system.SystemCallError):
        attach.Attached(program, 7)
    os.close(program)


def test_no_number_of_the_call_is_known(monkeypatch):
    monkeypatch.setattr(system.platform, "machine", lambda: "vax")
    with pytest.raises(system.SystemCallError, match="vax"):
        system.create_map("x", 8, 1)


@pytest.mark.parametrize(("text", "count"), [("0-3\n", 4), ("0\n", 1), ("0-1,4-7\n", 8), ("0,5\n", 6)])
def test_processors_are_counted(monkeypatch, tmp_path, text, count):
    (tmp_path / "possible").write_text(text)
    monkeypatch.setattr(system, "CPUS", Path(tmp_path / "possible"))
    assert system.possible_cpus() == count
