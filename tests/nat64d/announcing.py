"""What tests of [services] announce = "neighbours" have in common."""

from ipaddress import ip_address

from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.host.vips import Vip

PATIENCE = 30.0  # seconds
OWN, OTHER, HIGHER = (bytes([2, 0, 0, 0, 0, number]) for number in (5, 4, 6))
VIP4, VIP6 = "192.0.2.80", "2001:db8:1::80"
OURS = Vip("eth0", ip_address(VIP4))
OURS6 = Vip("eth0", ip_address(VIP6))


def text_of(directory: object, *addresses: str, more: str = "") -> str:
    rows = "".join(f'[[service]]\nname = "{one}"\nipv4 = "{one}:80"\n' for one in addresses)
    socket_of = f'[api]\nsocket = "{directory}/run/api.sock"\n'
    return f'pool6 = "64:ff9b::/96"\n{rows}[services]\nannounce = "neighbours"\n{socket_of}{more}'


def a_config(tmp_path: object) -> Config:
    """One service."""
    return loads(text_of(tmp_path, VIP4))
