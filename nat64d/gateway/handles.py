"""IPv6 addresses where tables have handles (translator/tables/handles.py), for listings: many at a time."""

from ipaddress import IPv6Network
from typing import NamedTuple

import numpy as np

from nat64d.config.words import words
from nat64d.gateway.lines import Part, text4, text6
from translator.tables.handles import CLIENTS, NUMBER, VIPS
from translator.tables.tables import Tables


class Addresses(NamedTuple):
    """Which numbers of a column are handles, and the addresses that those stand for: bool[n], int64[n], int64[n]."""

    are: np.ndarray
    hi: np.ndarray
    lo: np.ndarray


def addresses_of(tables: Tables | None, numbers: np.ndarray) -> Addresses:
    """What the numbers of a column stand for; a client that has gone meanwhile may be another one by now."""
    are, hi, lo = numbers >= CLIENTS, np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
    if tables is not None and are.any():
        clients, vips = tables.clients6.view(np.ndarray), tables.vips6
        of_clients, of_vips = are & (numbers < VIPS), numbers >= VIPS
        hi[of_clients] = clients["hi"][numbers[of_clients] & NUMBER]
        lo[of_clients] = clients["lo"][numbers[of_clients] & NUMBER]
        hi[of_vips], lo[of_vips] = vips[numbers[of_vips] & NUMBER].T
    return Addresses(are, hi, lo)


def text46(tables: Tables | None, numbers: np.ndarray) -> list[Part]:
    """IPv4 addresses in quotes, and IPv6 addresses where there are handles."""
    found = addresses_of(tables, numbers)
    if not found.are.any():
        return text4(numbers)
    only4 = [np.where(found.are, b"", part) for part in text4(numbers)]
    return [*only4, *(np.where(found.are, part, b"") for part in text6(found.hi, found.lo))]


def in_network6(tables: Tables | None, numbers: np.ndarray, network: IPv6Network) -> np.ndarray:
    """Which of them are handles of addresses in a network: bool[n]."""
    found = addresses_of(tables, numbers)
    (hi, lo), (mask_hi, mask_lo) = words(network[0]), words(network.netmask)
    inside: np.ndarray = found.are & ((found.hi ^ hi) & mask_hi == 0) & ((found.lo ^ lo) & mask_lo == 0)
    return inside
