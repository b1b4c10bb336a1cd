"""An address that this gateway wants to answer for on a link: first it is asked whether another host has it (RFC 5227),
then it is announced at once and every minute. The clock is an argument, in seconds."""

from enum import Enum

ASKED, ASK_EVERY = 3, 0.2  # questions without an answer, seconds between them
ANNOUNCED, SOON, ALWAYS = 3, 0.1, 60.0  # announcements in a row, seconds between them, and after them
DEFEND_INTERVAL = 10.0  # SPEC: RFC 5227 section 1.1, seconds between two defences
AGAIN = 2.0  # LIMIT: seconds after which it is asked again whether another host still has it


class Say(Enum):
    """What is to be sent."""

    QUESTION = "question"
    ANNOUNCEMENT = "announcement"


class Claim:
    """`held`: whether it is answered for; `rival`: the hardware address of another host that has it."""

    def __init__(self, now: float, held: bool = False) -> None:
        self.held, self.rival = held, b""
        self.due = now
        self._sent = 0  # of what is said in a row
        self._defended = self._seen = float("-inf")

    def say(self, now: float) -> Say | None:
        """What is due now. Nobody has answered ASKED questions: from then on it is held."""
        if now < self.due:
            return None
        if not self.held and self._sent < ASKED:
            self._sent += 1
            self.due = now + ASK_EVERY
            return Say.QUESTION
        if not self.held:
            self.held, self.rival, self._sent = True, b"", 0
        elif now - self._seen > 2 * ALWAYS:
            self.rival = b""
        self._sent += 1
        self.due = now + (SOON if self._sent < ANNOUNCED else ALWAYS)
        return Say.ANNOUNCEMENT

    def hear(self, other: bytes, own: bytes, now: float) -> None:
        """The host with the hardware address `other` has it.

        RFC 5227 section 2.4 leaves it open who gives way; of two that both hold it, as after a link between them was
        broken, it is the one with the higher hardware address, so that one remains.
        """
        self.rival, self._seen = other, now
        if not self.held or other < own:
            self.held, self._sent = False, 0
            self.due = now + AGAIN
        else:
            self.defend(now)

    def defend(self, now: float) -> None:
        """Somebody else wants it, too: say again that it is held, but not too often."""
        if self.held and now >= self._defended + DEFEND_INTERVAL:
            self._defended = self.due = now
