"""RFC 4443 section 2.4 (f), RFC 1812 section 4.3.2.8: how many ICMP errors go out; no flooder uses up those of others.

An error takes a token from two buckets of its worker, or from none:

    the receiver's   of its kind, for all of a prefix (/64, /24), which a keyed hash finds
    the kind's       of its family; packet too big has one of its own, which no other error can empty

Receivers get a part of what their kind has, so it takes several to empty that. A bucket holds what a second brings.
Linux limits by destination and in all too (icmp_ratelimit, icmp_msgs_per_sec), and packet too big not at all: without
it a connection stands still.
"""

from translator.jit.compile import int64, jit, rare
from translator.tables.gateway import RECEIVERS
from translator.tables.hashing import hash3
from translator.verdict import Event

# Kinds. A RST and the answer to a ping are no ICMP errors, but they too are sent to who may not have asked; refusals
# are what clients of services are told, by ICMP or RST.
OTHERS, TOO_BIG, RESETS, REFUSALS, ECHOES = range(5)
TOKENS, REFILLED = 0, 1  # of a bucket: thousandths of an error, and when it had them

# LIMITS
MORE_TOO_BIG = 10  # times as many as of the others: each is needed, and is smaller than the packet it is about
PART = 10  # a receiver gets one part in ten of what its kind has,
LEAST = 3  # and at least these, as many as traceroute sends probes, where the kind has so many
REKEYED = 60_000  # milliseconds after which the hash has another key: two that share a bucket by chance then have two


@rare()
def may_send(gateway, now, family, receiver, kind):
    """Whether an error of a kind may be sent to a receiver now; it is counted, sent or not."""
    events = gateway.worker.events
    if take_token(gateway, now, family, receiver, kind):
        events[int64(Event.ANSWER_SENT)] += 1
        return True
    events[int64(Event.TOO_BIG_LIMITED if kind == TOO_BIG else Event.ANSWER_LIMITED)] += 1
    return False


@jit()
def take_token(gateway, now, family, receiver, kind):
    """Take one token from the buckets of a receiver and of a kind, if both have one; the receiver's is asked first."""
    buckets, rate = gateway.worker.buckets, rate_of(gateway.settings, kind)
    of_receiver = bucket_of(gateway.settings.secret, now, family, receiver, kind)
    if refilled(buckets, of_receiver, now, max(rate // PART, min(rate, LEAST))) < 1000:
        return False
    of_kind = RECEIVERS + 2 * kind + (1 if family == 6 else 0)
    if refilled(buckets, of_kind, now, rate) < 1000:
        return False
    buckets[of_receiver, TOKENS] -= 1000
    buckets[of_kind, TOKENS] -= 1000
    return True


@jit()
def rate_of(settings, kind):
    """Errors of a kind and family that this worker may send in a second. 0 allows none (RFC 7915 sections 4.4, 5.4)."""
    rate = settings.resets_per_second
    if kind == OTHERS or kind == TOO_BIG:
        rate = settings.errors_per_second * (MORE_TOO_BIG if kind == TOO_BIG else 1)
    return max(rate // settings.queues, min(rate, 1))


@jit()
def bucket_of(secret, now, family, receiver, kind):
    """The bucket of a receiver's prefix. The hash is keyed, with another key every minute, so no sender can choose
    whose bucket it shares."""
    prefix = receiver.hi if family == 6 else receiver.lo >> 8
    return hash3(secret, prefix, now // REKEYED, kind << 3 | family) & (RECEIVERS - 1)


@jit()
def refilled(buckets, at, now, rate):
    """The tokens of a bucket that gains `rate` errors in a second."""
    elapsed = min(max(now - buckets[at, REFILLED], 0), 1000)
    buckets[at, TOKENS] = min(buckets[at, TOKENS] + elapsed * rate, 1000 * rate)
    buckets[at, REFILLED] = now
    return buckets[at, TOKENS]
