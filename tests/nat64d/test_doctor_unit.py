"""The doctor on the unit of systemd: what is shipped is fine, and what keeps the daemon from working is found."""

import re

import pytest

from nat64d.config.load import loads
from nat64d.doctor import privileges
from nat64d.doctor.daemon import Answer
from nat64d.doctor.finding import Severity
from nat64d.doctor.look import Look, UnseenError
from tests.architecture import ROOT
from tests.nat64d.sound import GATEWAY
from tests.nat64d.test_doctor import DISCOVERING, found, unit


def test_a_unit_whose_parameters_are_read_only_is_fine_where_they_are_the_operators():
    changes = unit(ProtectKernelTunables="yes")
    assert [one.check for one in found(GATEWAY, changes)] == ["unit"]
    assert found(f"{GATEWAY}[host]\nsysctls = false\n", changes) == []
    assert found(GATEWAY, unit(ProtectKernelTunables="yes", ReadWritePaths="/run /proc/sys/net")) == []
    assert found(GATEWAY, unit(PrivateDevices="yes", BindPaths="/dev/net/tun:/dev/net/tun:rbind")) == []


@pytest.mark.parametrize("file", sorted((ROOT / "config/systemd").glob("*.service")), ids=lambda file: file.name)
def test_the_units_that_are_shipped_are_fine(file):
    properties = dict[str, str]()
    for text in (file.read_text("utf-8"), file.with_name("sockets.conf").read_text("utf-8")):
        for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
            together = name in {*privileges.SETS, *privileges.DENIED}
            properties[name] = f"{properties.get(name, '')} {value}".strip() if together else value
    assert found(GATEWAY, {"unit": properties, "needed": [privileges.NET_ADMIN]}) == []


def test_port_53_takes_a_socket_of_systemd_or_a_capability():
    without = {"Id": "nat64d.service", "DynamicUser": "yes", **dict.fromkeys(privileges.SETS, "cap_net_admin")}
    (one,) = found(GATEWAY, {"unit": without})
    assert (one.check, one.severity) == ("unit", Severity.ERROR)
    assert "Run 'systemctl enable nat64d.socket && systemctl restart nat64d.service'." in one.sentence
    both = dict.fromkeys(privileges.SETS, "cap_net_admin cap_net_bind_service")
    assert found(GATEWAY, {"unit": {**without, **both}}) == []
    assert len(found(GATEWAY, {"unit": {**without, "Id": "nat64d@lab.service"}})) == len(privileges.SETS)


@pytest.mark.parametrize(
    ("status", "triggers", "binds"),
    [
        ({"dns64": {"listening": ["[::]:53"]}}, "", False),
        ({"dns64": {"listening": ["192.0.2.1:53"]}}, "nat64d.socket", True),
        ({"dns64": None}, "", True),
        (None, "nat64d.socket", False),
        (None, "", True),
        (None, UnseenError("systemctl does not answer"), True),
    ],
)
def test_what_is_open_already_needs_no_capability(monkeypatch, status, triggers, binds):
    def unit_of(_look):
        if isinstance(triggers, UnseenError):
            raise triggers
        return {"TriggeredBy": triggers}

    monkeypatch.setattr(privileges, "first_unprivileged", lambda: 1024)
    look = Look(loads(GATEWAY), {"answer": lambda _: Answer(status, "", False), "unit": unit_of})
    assert (privileges.NET_BIND_SERVICE in privileges.needed(look)) == binds


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("", []),
        ("[dns64]\n", ["[dns64]"]),
        ('[log]\nipfix = "192.0.2.9:4739"\n', ["[log] ipfix"]),
        ('[ra]\ninterface = ["eth0"]\n', ["[ra]"]),
        ('[[service]]\nname = "web"\nipv4 = "192.0.2.1:80"\nhealth = "tcp"\n', ["[[service]] health"]),
        ('[[service]]\nname = "web"\nipv4 = "192.0.2.1:80"\n', []),
        ('[api]\nhttp = "[2001:db8::1]:6464"\n', ["[api] http = [2001:db8::1]:6464"]),
        ('[api]\nhttp = "[::1]:6464"\n', []),
        ('[api]\nhttp = ""\n', []),
    ],
)
def test_what_reaches_other_hosts_by_sockets(more, what):
    assert privileges.reaching(loads(f'pool6 = "64:ff9b::/96"\n{more}')) == what


def test_who_announces_services_needs_a_right_and_a_family_of_sockets():
    service = '[[service]]\nname = "web"\nipv4 = "192.0.2.1:80"\n'
    text = f'pool6 = "64:ff9b::/96"\n{service}[services]\nannounce = "neighbours"\n'
    assert privileges.NET_RAW in privileges.needed_for(loads(text))
    assert privileges.NET_RAW not in privileges.needed_for(loads(text.replace(service, "")))
    for families, wrong in (
        ("AF_UNIX AF_INET", 1),
        ("AF_INET AF_PACKET", 0),
        ("", 0),
        ("~AF_VSOCK", 0),
        ("~AF_PACKET", 1),
    ):
        said = [*privileges.of_unit(loads(text), {"RestrictAddressFamilies": families, "User": "root"}, [])]
        assert len(said) == wrong
        assert all("RestrictAddressFamilies=AF_PACKET" in one.sentence for one in said)
    assert not [*privileges.of_unit(loads('pool6 = "64:ff9b::/96"\n'), {"RestrictAddressFamilies": "AF_UNIX"}, [])]


def test_so_does_who_looks_for_the_prefix_of_the_provider():
    assert privileges.reaching(loads(DISCOVERING)) == ['[clat] plat = "discover"']


def test_a_unit_whose_sockets_reach_this_host_alone_is_not_enough_for_a_name_server():
    closed = {"IPAddressDeny": "::/0 0.0.0.0/0", "IPAddressAllow": "127.0.0.0/8 ::1/128"}
    (one,) = found(GATEWAY, unit(**closed))
    assert (one.check, one.severity) == ("unit", Severity.ERROR)
    assert "not enough for [dns64]. Run 'mkdir -p " in one.sentence
    assert "IPAddressAllow=any" in one.sentence
    assert found(GATEWAY, unit(**{**closed, "IPAddressAllow": "::/0 0.0.0.0/0"})) == []
