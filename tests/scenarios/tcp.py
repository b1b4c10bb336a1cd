"""TCP (RFC 6146 section 3.5.2.2): every state, what leaves it, and what happens when its time is over."""

from dataclasses import replace

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from tests.scenarios import (
    ELSEWHERE6,
    HOST6,
    LONG_UP,
    MAPPED4,
    MAPPED_PORT,
    OTHER4,
    SERVER4,
    SERVER6,
    STANDARD,
    Scenario,
    Step,
    drops,
    passes,
    tell4,
    to_host4,
    to_host6,
    to_server4,
    to_server6,
)
from tests.scenarios.conversations import HANDSHAKE, PROBE, asks, back, late, out

ADF = STANDARD + "\n[filtering]\naddress_dependent = true\n"
STRANGERS_SYN = to_host4(TCP(sport=33000, dport=MAPPED_PORT, flags="S", seq=7), src=OTHER4)
STRANGERS_ACK = to_host4(TCP(sport=33000, dport=MAPPED_PORT, flags="A", seq=7), src=OTHER4)
OPTIONS = [("MSS", 1440), ("SAckOK", b""), ("Timestamp", (12345, 0)), ("NOP", None), ("WScale", 7)]


def stranger(flags: str, after: float = 0.001) -> Step:
    """A segment from a third host to the mapping."""
    segment = {"sport": 33000, "flags": flags, "seq": 7}
    return passes(
        to_host4(TCP(dport=MAPPED_PORT, **segment), src=OTHER4),
        to_host6(TCP(dport=5000, **segment), src=ELSEWHERE6),
        after=after,
    )


def elsewhere(flags: str) -> Step:
    """A segment of HOST6, from the same port, to another server."""
    segment = {"dport": 443, "flags": flags, "seq": 7}
    return passes(
        IPv6(src=HOST6, dst=ELSEWHERE6) / TCP(sport=5000, **segment),
        IP(src=MAPPED4, dst=OTHER4, ttl=63) / TCP(sport=MAPPED_PORT, **segment),
    )


SCENARIOS = [
    Scenario(
        "tcp_closed_by_the_server",
        "V4_FIN_RCV: the host may send for as long as it likes. After its FIN four minutes are left.",
        [
            *HANDSHAKE,
            back("FA", 901, 101),
            out("A", 101, 902),
            out("PA", 101, 902, b"more", after=7439),
            out("FA", 105, 902, after=7439),
            back("A", 902, 106, after=239),
            late(after=2),
        ],
    ),
    Scenario(
        "tcp_closed_by_the_host",
        "V6_FIN_RCV: the server may continue to send. Later segments do not extend the last four minutes.",
        [
            *HANDSHAKE,
            out("FA", 101, 901),
            back("PA", 901, 102, b"page", after=7439),
            back("FA", 905, 102, after=7439),
            out("A", 102, 906, after=120),
            out("A", 102, 906, after=119),
            late(after=2),
        ],
    ),
    Scenario(
        "tcp_half_closed_lives_7440_seconds",
        "A connection with a FIN from one side ends without a probe.",
        [*HANDSHAKE, out("FA", 101, 901), back("A", 901, 102), late(after=7441)],
    ),
    Scenario(
        "tcp_a_fin_does_not_start_the_time_anew",
        "The first FIN changes the state, not the lifetime: 7440 s count from the segment before it.",
        [*HANDSHAKE, out("FA", 101, 901, after=7000), late(after=441)],
    ),
    Scenario(
        "tcp_a_fin_sent_again",
        "A second FIN of the same side is an ordinary segment: it restarts the timer.",
        [
            *HANDSHAKE,
            out("FA", 101, 901),
            out("FA", 101, 901, after=7000),
            back("A", 901, 102, after=7000),
            late(after=7441),
        ],
    ),
    Scenario(
        "tcp_a_reset_after_a_fin",
        "In V4_FIN_RCV and V6_FIN_RCV a RST ends nothing early (RFC 6146 to the letter).",
        [*HANDSHAKE, back("FA", 901, 101), out("R", 101, 0), back("A", 902, 101, after=7439), late(after=7441)],
    ),
    Scenario(
        "tcp_a_reset_after_a_fin_when_asked",
        "[filtering] rst_during_fin: the RST leaves four minutes, as in other states.",
        [*HANDSHAKE, back("FA", 901, 101), out("R", 101, 0), late(after=241)],
        STANDARD + "\n[filtering]\nrst_during_fin = true\n",
    ),
    Scenario(
        "tcp_a_reset_out_of_the_window",
        "[filtering] check_rst (RFC 7857 2): a RST outside the window passes but ends nothing; one inside does.",
        [
            *HANDSHAKE,
            back("R", 5000, 0),
            out("R", 5000, 0),
            back("A", 901, 101, after=7000),
            back("R", 901, 0),
            late(after=241),
        ],
        STANDARD + "\n[filtering]\ncheck_rst = true\n",
    ),
    Scenario(
        "tcp_a_syn_after_both_fins",
        "The old session ends in time, with or without the SYN. The one that the next SYN opens is new.",
        [
            *HANDSHAKE,
            out("FA", 101, 901),
            back("FA", 901, 102),
            out("S", 5000, 0, after=100),
            back("SA", 6000, 5001, after=139),
            late(after=2),
            out("S", 5000, 0),
            back("SA", 6000, 5001),
        ],
    ),
    Scenario(
        "tcp_a_syn_after_a_reset",
        "TRANS: any segment but a RST establishes the session again, for 7440 s.",
        [*HANDSHAKE, back("R", 901, 0), out("S", 5000, 0, after=239), back("A", 901, 101, after=7439)],
    ),
    Scenario(
        "tcp_a_fin_after_a_reset",
        "TRANS: a FIN also establishes it again, so at its end the host is probed.",
        [
            *HANDSHAKE,
            back("R", 901, 0),
            out("FA", 101, 901, after=239),
            replace(back("A", 901, 102, after=7441), due=(PROBE,)),
        ],
    ),
    Scenario(
        "tcp_a_reset_during_the_handshake",
        "V6_INIT: only a SYN changes anything, a RST does not. Four minutes after the last SYN the session ends.",
        [
            out("S", 100, 0),
            back("RA", 0, 101),
            out("A", 101, 1),
            out("S", 100, 0, after=200),
            back("R", 0, 0, after=239),
            late(after=2),
        ],
    ),
    Scenario(
        "tcp_syns_that_cross",
        "V6_INIT: the SYN of the server establishes the session, with or without ACK (RFC 9293 figure 7).",
        [
            out("S", 100, 0),
            back("S", 900, 0),
            out("SA", 100, 901),
            back("SA", 900, 101),
            back("A", 901, 101, after=7439),
        ],
    ),
    Scenario(
        "tcp_a_syn_from_a_third_host",
        "V4_INIT: any host may use the mapping. The SYN of the IPv6 host, with or without ACK, "
        "establishes the session.",
        [
            *HANDSHAKE,
            stranger("S"),
            passes(
                IPv6(src=HOST6, dst=ELSEWHERE6) / TCP(sport=5000, dport=33000, flags="SA", seq=1, ack=8),
                IP(src=MAPPED4, dst=OTHER4, ttl=63) / TCP(sport=MAPPED_PORT, dport=33000, flags="SA", seq=1, ack=8),
            ),
            stranger("A", after=7000),
        ],
    ),
    Scenario(
        "tcp_segments_of_no_connection_follow_the_mapping",
        "With a BIB entry and without a session they pass and open none (section 3.5.2.2, CLOSED).",
        [*HANDSHAKE, stranger("A"), stranger("R"), stranger("FA"), elsewhere("A"), elsewhere("R")],
    ),
    Scenario(
        "tcp_mapping_is_endpoint_independent",
        "One port of a host has one mapping, whatever server it connects to (RFC 5382 REQ-1).",
        [*HANDSHAKE, elsewhere("S"), elsewhere("A")],
    ),
    Scenario(
        "tcp_address_dependent_filtering",
        "A SYN of an unknown host is kept like an unexpected one. Its other segments are dropped.",
        [
            *HANDSHAKE,
            drops("filtered_adf", STRANGERS_ACK),
            drops("syn_held", STRANGERS_SYN),
            passes(
                to_host4(TCP(sport=81, dport=MAPPED_PORT, flags="S", seq=7)),
                to_host6(TCP(sport=81, dport=5000, flags="S", seq=7)),
            ),
            replace(asks(after=7), due=(tell4(STRANGERS_SYN, 3, 3, to=OTHER4, src=MAPPED4),)),
        ],
        ADF,
    ),
    Scenario(
        "tcp_options_urgent_data_and_data_in_a_syn",
        "Only port and checksum of the segment change, not the MSS, not the urgent pointer.",
        [
            passes(
                to_server6(TCP(sport=5000, dport=80, flags="S", seq=1, options=OPTIONS) / b"early"),
                to_server4(TCP(sport=MAPPED_PORT, dport=80, flags="S", seq=1, options=OPTIONS) / b"early"),
            ),
            passes(
                to_host4(TCP(sport=80, dport=MAPPED_PORT, flags="PUAEC", urgptr=3, window=7, reserved=7) / b"odd"),
                to_host6(TCP(sport=80, dport=5000, flags="PUAEC", urgptr=3, window=7, reserved=7) / b"odd"),
            ),
        ],
    ),
    Scenario(
        "tcp_flags_that_make_no_sense",
        "No flags, and all flags: with SYN the segment opens a session, without it it needs a mapping.",
        [
            drops("no_session", to_server6(TCP(sport=5000, dport=80, flags=0))),
            drops("no_session", to_host4(TCP(sport=80, dport=MAPPED_PORT, flags=0))),
            *HANDSHAKE,
            back("", 901, 101),
            out("", 101, 901),
        ],
        LONG_UP,
    ),
    Scenario(
        "tcp_without_a_session_soon_after_the_start",
        "For 60 s after a start without sessions a RST tells both ends that their connection is over; no RST gets one.",
        [
            drops(
                "lost_session",
                to_server6(TCP(sport=5000, dport=80, flags="A", seq=1, ack=7)),
                IPv6(src=SERVER6, dst=HOST6, hlim=64) / TCP(sport=80, dport=5000, flags="R", seq=7, window=0),
            ),
            drops(
                "lost_session",
                to_host4(TCP(sport=80, dport=MAPPED_PORT, flags="F", seq=9) / b"data"),
                IP(src=MAPPED4, dst=SERVER4, ttl=64, id=0, flags="DF")
                / TCP(sport=MAPPED_PORT, dport=80, flags="RA", seq=0, ack=14, window=0),
            ),
            drops("no_session", to_server6(TCP(sport=5000, dport=80, flags="R", seq=1))),
            drops("no_session", to_server6(TCP(sport=5000, dport=80, flags="A", seq=1, ack=7)), after=61),
        ],
    ),
    Scenario(
        "tcp_syns_from_many_strangers_wait",
        "Each SYN is kept separately and answered after its own six seconds. A host that connects to one completes it.",
        [
            drops("syn_held", STRANGERS_SYN),
            drops("syn_held", to_host4(TCP(sport=80, dport=MAPPED_PORT, flags="S", seq=900)), after=2),
            out("S", 100, 0),
            replace(back("S", 900, 0, after=5), due=(tell4(STRANGERS_SYN, 3, 3, to=OTHER4, src=MAPPED4),)),
            back("A", 901, 101, after=7439),
        ],
    ),
]
