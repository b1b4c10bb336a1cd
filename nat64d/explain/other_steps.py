"""Steps of the pipeline that steps_text.py has no words for: they are shown all the same, by name and result."""

import re
from collections.abc import Iterator

from nat64d.explain.step import Step
from translator.explain import Call

# The functions whose own calls are steps of the walk.
STEPS_OF = ("translate", "translate_family", "translate_front6", "bind_packet", "bind_packet_front6")
# The steps that steps_text.py, or the verdict, tells of.
TOLD = frozenset(
    (
        *("quotes_packet", "zero_checksum", "examine", "parse_quoted", "incoming_tuple", "tcp_flags", "is_fragment"),
        *("needs_whole", "bind_packet", "bind", "returns_to_us", "as_from_ipv4", "hold_syn", "note_segment"),
        *("bind_fragment", "next_identification", "error_addresses", "plan_error", "write_error", "plan_output"),
        *("write_packet", "refused", "lower_mss", "mss_of", "is_echo_request", "event_of", "may_answer_for_service"),
        *("translate_family", "translate_front6", "in_prefix", "concerns_front6", "vip_of", "is_source6"),
        *("bind_packet_front6", "bind_front6", "write_front6", "echo", "forget_accounts", "count_packet"),
    )
)
SECTION = re.compile(r"RFC (\d+) sections? ([\d.]*\d)")


def other_steps(translate: Call) -> Iterator[Step]:
    """A Step for each call of the walk that nothing else tells of."""
    for walk in (translate, *translate.find(*STEPS_OF)):
        for call in walk.calls:
            if call.name not in TOLD:
                section = SECTION.search(call.function.__doc__ or "")
                yield Step(
                    call.name.replace("_", " "), " ".join(section.groups()) if section else "", [str(call.result)]
                )
