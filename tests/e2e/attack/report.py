"""The table that a run ends with."""

from collections.abc import Iterator

from tests.e2e.attack.stage import Outcome

OUTCOMES: list[Outcome] = []  # of this run
HEADINGS = ("attack", "pool", "filled by", "sessions", "sent/s", "kept", "new TCP", "UDP", "DNS", "service", "else")
ELSE = "packet too big"


def table(outcomes: list[Outcome]) -> Iterator[str]:
    """The lines of the table; the first share of two is that during the attack, the second that after it."""
    rows = [HEADINGS, *(cells(outcome) for outcome in outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def cells(outcome: Outcome) -> tuple[str, ...]:
    attack = outcome.attack
    filled = f"{outcome.filled.packets:,} at {outcome.filled.rate:,}/s" if outcome.filled.packets else "-"
    sessions = f"{outcome.sessions:,}" if outcome.filled.packets else "-"
    head = (attack.name, outcome.pool, filled, sessions, f"{outcome.sent.rate:,}")
    kept = f"TCP {share(outcome, 'kept tcp')} UDP {share(outcome, 'kept udp')}"
    if "client" in attack.victims:
        kept += f" service {share(outcome, 'kept service')}"
    return *head, kept, *(share(outcome, kind) for kind in ("new tcp", "new udp", "dns", "new service", ELSE))


def share(outcome: Outcome, kind: str) -> str:
    """Percent during and after the attack."""
    shares = [outcome.percent(phase, kind) for phase in ("during", "after")]
    return "/".join("-" if percent is None else f"{percent:.4g}" for percent in shares)


def line(outcome: Outcome) -> str:
    """One scenario."""
    return "\n".join(table([outcome]))
