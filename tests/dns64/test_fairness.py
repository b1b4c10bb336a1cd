"""Nobody locks anybody out: whoever floods, by UDP, by TCP or with slow names, others are answered."""

import asyncio

import pytest

from nat64d.dns64.clients import connections, listener, turns
from nat64d.dns64.clients.accounts import Account, account
from nat64d.dns64.clients.batch import in_turn
from nat64d.dns64.clients.shares import Shares
from tests.dns64 import clock
from tests.dns64.flood import LITTLE, TURN, Pipe, Server, query, served

pytestmark = pytest.mark.no_cover  # much computing, of code that others measure

NEIGHBOUR, FLOOD, OTHER = "2001:db8::fffe", "2001:db8::bad", "2001:db8:0:1::1"
FLOODS = [f"2001:db8:bad:{number}::1" for number in range(10)]


@pytest.mark.parametrize("client", [NEIGHBOUR, OTHER], ids=["of the same /64", "of another /64"])
def test_rfc7766_6_2_3_silent_connections_give_way_to_those_of_others(client: str) -> None:
    """32 of them used to lock out their /64."""

    async def body(server: Server) -> None:
        silent = [server.connect(FLOOD) for _ in range(connections.CONNECTIONS)]
        one = server.connect(client)
        assert not silent[0].is_open, "the longest idle"
        assert silent[1].is_open
        silent += [server.connect(FLOOD) for _ in range(2 * connections.CONNECTIONS)]
        one.ask(query("kept."))
        assert len(one.sent) == 1
        assert len(server.desk.connections.open) == connections.CONNECTIONS

    served(body)


def test_silent_connections_of_ten_64s_give_way_to_those_of_others() -> None:
    """Together they used to lock out everybody."""

    async def body(server: Server) -> None:
        for _ in range(50):
            for flood in FLOODS:
                server.connect(flood)
        mine = [server.connect(client) for client in (OTHER, FLOODS[0][:-1] + "2", "192.0.2.1")]
        for flood in FLOODS * 50:
            server.connect(flood)
        for one in mine:
            one.ask(query())
        await asyncio.sleep(1)
        assert [len(one.sent) for one in mine] == [1, 1, 1]

    served(body)


def test_of_the_connections_of_a_client_those_go_first_on_which_no_answer_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 3)

    async def body(server: Server) -> None:
        busy, asked, silent = (server.connect(FLOOD) for _ in range(3))
        busy.ask(query())
        await asyncio.sleep(0.5)
        asked.ask(query("kept."))
        server.connect(OTHER)
        assert [one.is_open for one in (busy, asked, silent)] == [True, True, False]
        server.connect(NEIGHBOUR)
        assert [one.is_open for one in (busy, asked)] == [True, False]

    served(body, seconds=9)


def test_answers_that_nobody_reads_are_bounded_together() -> None:
    async def body(server: Server) -> None:
        for flood in FLOODS * 20:
            server.connect(flood).unread = connections.UNREAD
        pipes: list[Pipe] = [one.transport for one in server.desk.connections.open]  # type: ignore[misc]
        for each in pipes:
            each.ask(query("kept."))
        assert sum(each.unread for each in pipes if each.is_open) <= connections.UNREAD_TOGETHER
        assert server.resolver.counters.unread > 100
        one = server.connect(OTHER)
        one.unread = connections.UNREAD_FREELY
        one.ask(query("kept."))
        assert one.is_open

    served(body)


@pytest.mark.parametrize(
    "floods",
    [[FLOOD], FLOODS[:5], [f"{FLOOD}:{host}" for host in range(40)]],
    ids=["one", "five /64s", "forty in a /64"],
)
def test_new_names_of_others_are_resolved_while_more_are_asked_than_can_be(floods: list[str]) -> None:
    """What is asked in a turn is several times what is started in one."""

    async def body(server: Server) -> None:
        for number in range(100):
            for flood in floods:
                server.send(flood, query(f"n{number}.example."), 90 // len(floods) + 1)
            if number % 4 == 0:  # less than its part, also if forty others want as much
                server.send(NEIGHBOUR, query(f"m{number}.example."))
                server.send(OTHER, query(f"o{number}.example."))
            await server.turn()
        await asyncio.sleep(5)
        answered = server.socket.answered
        assert (answered[NEIGHBOUR], answered[OTHER]) == (25, 25)
        assert server.counts["overloaded"] > 2000
        assert sum(server.socket.cut.values()) > 100, "some are told to use TCP"
        of_floods = [answered[flood] for flood in floods]
        assert sum(of_floods) >= 100 * (turns.STARTED - 2)
        assert max(of_floods) - min(of_floods) <= 0.2 * max(of_floods)

    served(body)


def test_what_upstream_servers_cannot_keep_up_with_waits_where_clients_take_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that needs a second for everything: who asks little is among the next it is asked for."""
    monkeypatch.setattr(turns, "FRESH_FOR", 1000.0)

    async def body(server: Server) -> None:
        for number in range(20):
            server.send(FLOOD, query(f"n{number}.example."), 200)
            await server.turn()
        assert len(server.desk.turns.fresh) == turns.FRESH == server.desk.turns.running.taken
        server.send(OTHER, query())
        await server.turn()
        await asyncio.sleep(2.5)
        assert server.socket.answered[OTHER] == 1

    served(body, seconds=1)


def test_a_slow_process_starts_what_it_gets_done_and_everybody_is_answered() -> None:
    """Five /64s ask for 4500 new names a second, from ever new addresses. It could resolve 640 if it did nothing else,
    and has not even the time to refuse all others. Two clients ask a little: one of a /64 of these, and another one."""
    quiet, every, flooded = ("2001:db8:bad:0::fffe", OTHER), 0.05, query("n.example.")

    async def body(server: Server) -> None:
        server.slow_down(1 / 640, 0.0001)
        loop = asyncio.get_running_loop()
        asked, floods, longest, pipes = 0, 0, 0.0, []
        while (now := loop.time()) < 3:
            clock.skip(LITTLE)
            for number in range(floods, int(4500 * now)):
                server.send(f"2001:db8:bad:{number % 5}::{number + 1:x}", flooded)
            floods = int(4500 * now)
            if now >= every * asked:
                asked += 1
                for client in quiet:
                    server.send(client, query())
                    pipes.append(server.connect(client))
                    pipes[-1].ask(query())
            server.listener._drain()
            await asyncio.sleep(0)
            longest = max(longest, loop.time() - now)
        assert longest < 0.1, "it looks at its sockets ten times a second and more"
        await asyncio.sleep(5)
        assert [server.socket.answered[client] for client in quiet] == [asked, asked]
        assert [len(pipe.sent) for pipe in pipes] == [1] * len(pipes)

    served(body, rate=1000)


def test_where_upstream_servers_are_slow_and_the_process_is_idle_as_many_are_started_as_ever() -> None:
    async def body(server: Server) -> None:
        for _ in range(60):
            server.send(FLOOD, query(), 100)
            await server.turn()
            await asyncio.sleep(0.05 - TURN)
        await asyncio.sleep(1)
        assert server.socket.answered[FLOOD] >= 3 * 0.95 * turns.FRESH / turns.FRESH_FOR

    served(body, seconds=0.5)


def test_cached_answers_do_not_wait_for_new_names() -> None:
    async def body(server: Server) -> None:
        server.send(FLOOD, query(), 200)
        server.send(OTHER, query("kept."))
        server.listener._drain()
        assert server.socket.answered == {OTHER: 1}

    served(body)


@pytest.mark.parametrize("client", [NEIGHBOUR, OTHER], ids=["of the same /64", "of another /64"])
def test_a_client_with_many_slow_names_does_not_occupy_the_upstream_servers(client: str) -> None:
    async def body(server: Server) -> None:
        for number in range(100):
            server.send(FLOOD, query(f"slow{number}.example."), 100)
            await server.turn()
            assert len(server.desk.turns.fresh) <= turns.FRESH
            await asyncio.sleep(turns.FRESH_FOR / 2)
        alone = server.desk.turns.running.taken
        assert alone > 0.6 * turns.RUNNING, "it may have most of what nobody else wants"
        server.resolver.seconds = 0.01
        for number in range(100):
            server.send(client, query(f"quick{number}.example."))
            await server.turn()
        await asyncio.sleep(1)
        assert server.socket.answered[client] == 100
        assert server.desk.turns.running.taken == alone

    served(body, seconds=1000)


def test_a_query_is_not_resolved_when_its_client_has_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "RUNNING", 4)

    async def body(server: Server) -> None:
        server.send(FLOOD, query(), 10)
        await server.turn()
        running = server.desk.turns.running.taken
        await asyncio.sleep(11)
        assert server.socket.answered[FLOOD] == running
        assert server.socket.cut[FLOOD] == 10 - running

    served(body, seconds=10)


def test_what_waits_for_a_connection_that_is_gone_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "STARTED", 1)

    async def body(server: Server) -> None:
        one = server.connect(FLOOD)
        octets = query()
        one.protocol.data_received((len(octets).to_bytes(2, "big") + octets) * 3)
        assert server.desk.turns.running.taken == 1
        one.abort()
        await asyncio.sleep(1)
        assert (server.desk.turns.running.taken, server.desk.turns.waiting) == (0, 0)

    served(body)


def test_a_short_burst_is_answered_whole() -> None:
    async def body(server: Server) -> None:
        server.send(OTHER, query("kept."), (listener.BEHIND + 1) * listener.READ - 1)
        for _ in range(listener.BEHIND + 1):
            await server.turn()
        assert server.socket.answered[OTHER] == (listener.BEHIND + 1) * listener.READ - 1

    served(body)


def test_when_reading_falls_behind_each_client_gets_its_turn() -> None:
    async def body(server: Server) -> None:
        for _ in range(20):
            for flood in FLOODS[:5] * 40:
                server.send(flood, query("kept."), 10)
            server.send(NEIGHBOUR, query("kept."))
            await server.turn()
        assert len(server.socket.came) < 4 * 2001, "it reads faster than datagrams come"
        while server.socket.came:
            await server.turn()
        assert server.counts["overloaded"] > 20 * 2000 / 2
        assert server.socket.answered[NEIGHBOUR] == 20
        answered = [server.socket.answered[flood] for flood in FLOODS[:5]]
        assert max(answered) < 1.5 * min(answered)

    served(body)


def test_who_is_over_its_share_is_sent_to_tcp_but_not_at_the_cost_of_others() -> None:
    async def body(server: Server) -> None:
        server.send(FLOOD, query("kept."), 200)
        await server.turn()
        answered, cut = server.socket.answered[FLOOD], server.socket.cut[FLOOD]
        assert 10 <= answered <= 20
        assert answered + cut == 200
        server.send(FLOOD, query("kept."), listener.READ)
        await server.turn()
        assert server.socket.cut[FLOOD] == cut + listener.SPARED
        assert listener.READ - listener.SPARED - 10 <= server.counts["limited"] <= listener.READ - listener.SPARED
        one = server.connect(FLOOD)
        one.ask(query("kept."))
        assert len(one.sent) == 1

    served(body, rate=10)


def test_while_as_many_wait_as_may_few_of_those_with_most_are_told_to_use_tcp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Telling them takes longer than to read what they send."""
    monkeypatch.setattr(turns, "WAITING", 10)
    monkeypatch.setattr(turns, "FRESH", 0)

    async def body(server: Server) -> None:
        server.send(FLOOD, query(), 10)
        server.send(NEIGHBOUR, query("n.example."))
        server.send(FLOOD, query(), 30)
        server.listener._drain()
        assert server.socket.cut == {FLOOD: 1 + listener.SPARED}, "the neighbour took the place of one"
        assert server.counts["overloaded"] == 31
        server.send(FLOOD, query("kept."), 200)
        server.send(NEIGHBOUR, query("kept."))
        server.listener._drain()
        assert server.socket.answered == {FLOOD: listener.SPARED, NEIGHBOUR: 1}
        assert server.socket.cut == {FLOOD: 1 + 2 * listener.SPARED}, "of those over their share as many"

    served(body, rate=100)


def test_shares_leave_a_place_for_everybody_and_all_are_given_back() -> None:
    shares = Shares(1000)
    flood = [account(f"2001:db8::{host:x}") for host in range(20)]
    took = [who for _ in range(1000) for who in flood if shares.take(who)]
    assert 600 < len(took) < 850
    assert shares.take(account(OTHER))
    assert shares.take(account(NEIGHBOUR))
    for who in (*took, account(OTHER), account(NEIGHBOUR)):
        shares.give_back(who)
    assert (shares.taken, len(shares._of_subscriber), len(shares._of_address)) == (0, 0, 0)


def test_subscribers_come_in_turn_and_their_addresses_in_turn_among_themselves() -> None:
    rows = [(Account("a", "a1"), n) for n in range(3)] + [(Account("a", "a2"), 3), (Account("b", "b1"), 4)]
    assert [number for _, number in in_turn(rows)] == [0, 4, 3, 1, 2]
