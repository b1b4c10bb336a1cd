"""A bounded number of places, shared among clients."""

from collections import Counter

from nat64d.dns64.clients.accounts import Account

# LIMITS
ALPHA = 4


class Shares:
    """Places, and who has how many of them.

    A subscriber gets one more while it has less than ALPHA times the free ones (dynamic threshold; Choudhury and Hahne,
    IEEE/ACM ToN 6 (2), 1998), and so does each of its addresses within what the subscriber may still get. One client
    alone gets two thirds of all; several get equal parts; some places always stay free for the next one.
    """

    def __init__(self, places: int) -> None:
        self.places, self.taken = places, 0
        self._of_subscriber: Counter[str] = Counter()
        self._of_address: Counter[str] = Counter()

    def has_room(self, who: Account) -> bool:
        """Whether a client may take one more place."""
        room = self.room(who.subscriber)
        return room > 0 and self._of_address[who.address] < ALPHA * room

    def room(self, subscriber: str) -> float:
        """How many more places a subscriber may take if nobody else takes any; negative if it has too many."""
        return (ALPHA * (self.places - self.taken) - self._of_subscriber[subscriber]) / (ALPHA + 1)

    def take(self, who: Account) -> bool:
        """Take a place; False if the client may not."""
        if not self.has_room(who):
            return False
        self.taken += 1
        self._of_subscriber[who.subscriber] += 1
        self._of_address[who.address] += 1
        return True

    def give_back(self, who: Account) -> None:
        """Free a place that was taken."""
        self.taken -= 1
        for counts, name in ((self._of_subscriber, who.subscriber), (self._of_address, who.address)):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
