"""nat64d@.service, made from nat64d.service."""

from tests.architecture import ROOT

UNITS = ROOT / "config/systemd"
# What of nat64d.service is another for each instance of nat64d@.service, where %i is the name.
HEAD = """\
# Install: cp nat64d.service /etc/systemd/system/ && systemctl daemon-reload && systemctl enable --now nat64d
# Without /etc/nat64d/nat64d.toml the built-in default runs. For more daemons on one host: nat64d@.service.
"""
HEAD_OF_INSTANCE = """\
# nat64d.service for more daemons on one host, made from it by `make readme`. For the one called lab:
# cp nat64d@.service /etc/systemd/system/ && systemctl daemon-reload && systemctl enable --now nat64d@lab
# Its configuration is /etc/nat64d/lab.toml. It says what can be there only once: name and addresses in [tun], listen in
# [dns64], http and socket = "/run/nat64d-lab/api.sock" in [api], file = "/run/nat64d-lab/state" in [state].
"""
OF_INSTANCE = {
    HEAD: HEAD_OF_INSTANCE,
    "=NAT64 gateway\n": "=NAT64 gateway %i\n",
    "nat64d run\n": "nat64d run -c /etc/nat64d/%i.toml\n",
    "nat64d reload\n": "nat64d reload -c /etc/nat64d/%i.toml\n",
    "sessions: /run/nat64d,": "sessions: /run/nat64d-%i,",
    "RuntimeDirectory=nat64d\n": "RuntimeDirectory=nat64d-%i\n",
    "%t/nat64d/": "%t/nat64d-%i/",
}


def of_instances() -> str:
    """The text of nat64d@.service."""
    return instance((UNITS / "nat64d.service").read_text("utf-8"))


def instance(unit: str) -> str:
    """The text of nat64d@.service, from that of nat64d.service. Raises LookupError for what is not there once."""
    for old, new in OF_INSTANCE.items():
        if unit.count(old) != 1:
            raise LookupError(f"nat64d.service has {unit.count(old)} times {old!r}, expected 1")
        unit = unit.replace(old, new)
    return unit
