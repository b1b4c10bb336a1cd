"""How many clients' rates are remembered, and whose are forgotten."""

import pytest

from nat64d.dns64 import rates
from nat64d.dns64.rates import Rates


def test_who_asks_in_time_is_allowed_his_rate_and_no_more() -> None:
    one = Rates(100)
    allowed = sum(one.allows("192.0.2.1", number / 1000) for number in range(10_000))
    assert abs(allowed - (100 + 9.999 * 100)) < 1


def test_the_clients_remembered_are_bounded_and_those_whose_buckets_are_full_are_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "CLIENTS", 8)
    one = Rates(1)
    idle, busy = [f"192.0.2.{number}" for number in range(8)], "198.51.100.1"
    for client in idle:
        one.allows(client, 0.0)
    one.allows(busy, 5.0)  # the ninth: the buckets of all others are full again
    assert set(one._full) == {busy}
    for number in range(100):
        one.allows(f"203.0.113.{number}", 5.0)
        assert len(one._full) <= 8


def test_without_a_rate_nothing_is_remembered() -> None:
    one = Rates(0)
    assert all(one.allows("192.0.2.1", 0.0) for _ in range(1000))
    assert not one._full
