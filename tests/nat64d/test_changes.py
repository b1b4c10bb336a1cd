"""Change sets: what is set beside the file, all or nothing, and what becomes of it over a reload."""

import asyncio
from pathlib import Path

import pytest

from nat64d.config.load import load
from nat64d.control.changes import OutdatedError, Wish
from nat64d.control.filters import Filters
from nat64d.control.rows import BusyError, NotReadyError, RefusedError, Row, WrongConfigurationError
from nat64d.gateway import kept_sources
from nat64d.gateway import reload as module
from nat64d.gateway.kept_sources import KeptSources
from tests.nat64d.test_reload import BASE, Scene, here  # noqa: F401  a fixture

EAM = {"ipv4": "198.51.100.7/32", "ipv6": "2001:db8::7/128"}
EAMS = {"eam": [EAM]}
WEB = {"protocol": "tcp", "ipv4": "192.0.2.1:80", "ipv6": "[2001:db8::2]:8080"}


class Changing(Scene):
    masquerade = ()

    def retract(self, _: object) -> None:
        self.done.append("retract")

    def change(self, given: object, unset: object = {}, **more: object) -> Row:
        wish = Wish("api", given, unset, **more)
        return self.run(lambda reload: asyncio.to_thread(reload.change, wish))

    def kept(self) -> object:
        return KeptSources(self.live.config.state_path).read()


@pytest.fixture
def scene(tmp_path: Path) -> Changing:
    path = tmp_path / "a.toml"
    path.write_text(BASE + f'[state]\nfile = "{tmp_path / "state"}"\n')
    return Changing(path)


def test_more_than_can_be_kept_is_refused_and_changes_nothing(scene, monkeypatch):
    monkeypatch.setattr(kept_sources, "LARGEST", 100)
    before = scene.live.config, scene.live.sources
    with pytest.raises(RefusedError, match="cannot keep it there: File too large"):
        scene.change(EAMS)
    assert (scene.live.config, scene.live.sources) == before
    assert (scene.done, scene.kept()) == ([], {})


def test_rows_come_and_go_with_the_difference_as_answer(scene):
    answer = scene.change({"eam": [EAM], "forward": [WEB]})
    assert [change["text"] for change in answer["changes"]] == [
        '[[eam]] added (ipv4 = "198.51.100.7/32", ipv6 = "2001:db8::7/128")',
        '[[forward]] added (protocol = "tcp", ipv4 = "192.0.2.1:80", ipv6 = "[2001:db8::2]:8080")',
    ]
    assert answer["summary"].startswith("Changed what api has set: kept 0 sessions; packets waited ")
    assert [row["source"] for row in scene.live.mappings(Filters())] == ["api", "api"]
    assert scene.live.said_by("api") == {"eam": [EAM], "forward": [WEB], "version": answer["version"]}
    again = scene.change({"eam": [EAM]})
    assert (again["changes"], again["version"]) == ([], answer["version"])
    answer = scene.change(
        {"eam": [{**EAM, "ipv6": "2001:db8::8"}]}, {"forward": [{"protocol": "tcp", "ipv4": WEB["ipv4"]}]}
    )
    assert [change["text"].split()[:2] for change in answer["changes"]] == [
        ["[[eam]]", "removed"],
        ["[[eam]]", "added"],
        ["[[forward]]", "removed"],
    ]
    assert answer["version"] != again["version"]
    assert scene.live.config.eam[0].ipv6[0].exploded.endswith(":0008")
    assert not scene.live.config.forward


def test_a_source_as_a_whole_takes_the_place_of_what_it_was(scene):
    first = scene.change(EAMS)
    answer = scene.change({"forward": [WEB]}, replaces=True)
    assert [change["place"] for change in answer["changes"]] == ["[[eam]]", "[[forward]]"]
    assert scene.change({}, replaces=True)["version"] == scene.live.said_by("other")["version"]
    assert scene.change(EAMS, replaces=True)["version"] == first["version"]


@pytest.mark.parametrize(
    ("given", "unset", "error", "sentence"),
    [
        ({"eam": [EAM, {**EAM, "ipv4": "x"}]}, {}, WrongConfigurationError, 'set: [[eam]] #2 ipv4 = "x": expected'),
        (EAMS, {"eam": [EAM]}, WrongConfigurationError, "unset [[eam]]: "),
        ({"eam": [EAM, EAM]}, {}, WrongConfigurationError, "api: [[eam]] #2 ipv4"),
        ({"eam": [EAM, {**EAM, "ipv4": "192.0.2.1"}]}, {}, WrongConfigurationError, "api: [[eam]] #2 ipv4"),
        (EAMS, 7, WrongConfigurationError, "unset: expected an object"),
        ({"eam": [1] * 500}, {}, WrongConfigurationError, "and 400 more mistakes"),
    ],
)
def test_half_a_change_set_changes_nothing(scene, given, unset, error, sentence):
    before = scene.live.config, scene.live.sources
    with pytest.raises(error) as refused:
        scene.change(given, unset)
    assert sentence in str(refused.value)
    assert (scene.live.config, scene.live.sources) == before
    assert scene.done == []
    assert scene.kept() == {}


def test_what_the_host_refuses_is_not_kept(scene, monkeypatch):
    scene.objection = module.HostError("no room")
    with pytest.raises(RefusedError, match="no room"):
        scene.change(EAMS)
    assert scene.kept() == {}
    monkeypatch.setattr(KeptSources, "prepare", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(RefusedError, match=r"state\.sources: cannot keep it there: No space left"):
        scene.change(EAMS)
    assert not scene.live.config.eam


def test_what_cannot_be_kept_in_the_end_is_in_use_all_the_same(scene):
    """A directory is in the way, as a full or read-only disk would be; the answer says so, and so does the status until
    something is kept again."""
    path = KeptSources(scene.live.config.state_path).path
    (path / "in the way").mkdir(parents=True)
    (said,) = scene.change(EAMS)["warnings"]
    assert said.startswith(f"{path}: what was set last is in use, but not kept (")
    assert "a restart goes back to what was set before" in said
    assert scene.live.config.eam
    assert scene.live.said_by("api")["eam"] == [EAM]
    assert said in scene.live.status()["warnings"]
    (path / "in the way").rmdir()
    path.rmdir()
    assert scene.change({}, {"eam": [{"ipv4": EAM["ipv4"]}]})["warnings"] == []
    assert said not in scene.live.status()["warnings"]
    assert not scene.kept()["api"].eam


def test_the_first_forward_needs_a_prefix_and_no_restart(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(f'[[eam]]\nipv4 = "198.51.100.1"\nipv6 = "2001:db8::1"\n[state]\nfile = "{tmp_path / "state"}"\n')
    scene = Changing(path)
    with pytest.raises(WrongConfigurationError, match="pool6"):
        scene.change({"forward": [WEB]})
    path.write_text('pool6 = "64:ff9b::/96"\n' + path.read_text())
    scene = Changing(path)
    assert not scene.live.settings.stateful
    scene.change({"forward": [WEB]})
    assert scene.live.settings.stateful
    scene.live.close_state_file()


def test_a_state_file_that_cannot_be_refuses_the_first_forward(tmp_path):
    path = tmp_path / "a.toml"
    state = tmp_path / "state"
    state.mkdir()
    path.write_text(f'pool6 = "64:ff9b::/96"\n[state]\nfile = "{state}"\n')
    scene = Changing(path)
    with pytest.raises(RefusedError, match="cannot keep sessions there"):
        scene.change({"forward": [WEB]})
    assert not scene.live.settings.stateful


def test_a_dry_run_says_the_same_and_changes_nothing(scene):
    answer = scene.change(EAMS, dry_run=True)
    assert [change["place"] for change in answer["changes"]] == ["[[eam]]"]
    assert answer["summary"] == "Nothing is changed: it was asked what would be"
    assert scene.done == []
    assert scene.kept() == {}
    assert scene.change(EAMS)["version"] == answer["version"]
    assert scene.change(EAMS, dry_run=True)["summary"] == "Nothing would be changed"
    with pytest.raises(WrongConfigurationError):
        scene.change({"eam": [{}]}, dry_run=True)


def test_whoever_has_an_older_version_in_mind_is_refused(scene):
    version = scene.live.said_by("api")["version"]
    newer = scene.change(EAMS, match=version)["version"]
    with pytest.raises(OutdatedError, match=f"^api is at version {newer}, not at {version}: read it again$"):
        scene.change({}, {"eam": [EAM]}, match=version)
    assert scene.live.config.eam
    scene.change({}, {"eam": [EAM]}, match="*")
    assert not scene.live.config.eam


def test_it_stays_over_a_reload_and_conflicts_name_both(scene):
    scene.change(EAMS)
    text = scene.path.read_text()
    answer = scene.reload(text + "[timeouts]\nudp = 600")
    assert [change["place"] for change in answer["changes"]] == ["[timeouts] udp"]
    assert len(scene.live.config.eam) == 1
    with pytest.raises(RefusedError) as refused:
        scene.reload(text + '[[eam]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8::9"')
    first, second = str(refused.value).splitlines()
    assert first.startswith(f"{scene.path} and api do not go together")
    assert second.startswith('api: [[eam]] #1 ipv4 = "198.51.100.7/32": expected a prefix that is not mapped yet')
    assert scene.live.config.timeouts.udp == 600


def test_the_file_can_take_a_row_over(scene):
    scene.change(EAMS)
    text = scene.path.read_text() + '[[eam]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8::7"'
    assert scene.reload(text)["changes"] == []
    assert [row["source"] for row in scene.live.mappings(Filters())] == ["file"]
    assert scene.change({}, {"eam": [EAM]})["changes"] == []
    assert scene.live.config == load(scene.path)


def test_an_edited_file_waits_for_its_reload(scene):
    scene.path.write_text("what?")
    assert len(scene.change(EAMS)["changes"]) == 1


def test_one_at_a_time_and_only_while_packets_pass(scene):
    async def twice(reload: module.Reload) -> None:
        with reload._lock:
            await asyncio.to_thread(reload.change, Wish("api", EAMS, {}))

    with pytest.raises(BusyError):
        scene.run(twice)
    with pytest.raises(NotReadyError):
        scene.run(lambda reload: asyncio.to_thread(reload.change, Wish("api", EAMS, {})), begun=False)
    scene.live.changer = None
    with pytest.raises(NotReadyError, match=r"^the gateway is ready$"):
        scene.live.change(Wish("api", EAMS, {}))
    assert scene.kept() == {}


SERVICE = {"name": "web", "ipv4": "192.0.2.2:80", "endpoints": ["[2001:db8::2]:80", "[2001:db8::3]:80"]}


def test_endpoints_change_without_a_look_at_the_host(scene, monkeypatch):
    scene.change({"service": [SERVICE, {**SERVICE, "name": "other", "ipv4": "192.0.2.2:81"}]})
    monkeypatch.setattr(module, "check_host", lambda *_: pytest.fail("nothing is to be asked"))
    scene.done.clear()

    async def twice(reload: module.Reload) -> list[Row]:
        answers = []
        for count in (1, 0):
            row = {**SERVICE, "endpoints": SERVICE["endpoints"][:count]}
            answers.append(await asyncio.to_thread(reload.change, Wish("api", {"service": [row]}, {})))
            assert scene.kept() == scene.live.sources.rows
        return answers

    for answer in scene.run(twice):
        assert [change["place"] for change in answer["changes"]] == ["[[service]]"] * 2
        assert answer["pause"] == 0.0
    assert scene.done == []
    assert [len(service.endpoints) for service in scene.live.config.service] == [2, 0]
    assert scene.live.config == scene.live.sources.combined()
