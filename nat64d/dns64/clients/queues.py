"""Queues of clients, in two levels: whose turn it is, and who waits with most."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from nat64d.dns64.clients.accounts import Account

Item = TypeVar("Item")


class Tally:
    """Counts of names, and the name with the highest count; all of it in constant time."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._with: dict[int, dict[str, None]] = {}  # the names with a count, the one that has had it longest first
        self._highest = 0

    def highest(self) -> str:
        """The name with the highest count; of several, the one that has had it longest."""
        return next(iter(self._with[self._highest]))

    def add(self, name: str, number: int) -> None:
        """Count one more (1) or one less (-1)."""
        before = self._counts.pop(name, 0)
        if before:
            names = self._with[before]
            del names[name]
            if not names:
                del self._with[before]
        count = before + number
        if count:
            self._counts[name] = count
            self._with.setdefault(count, {})[name] = None
        if count > self._highest or self._highest not in self._with:
            self._highest = count

    def is_high(self, name: str) -> bool:
        """Whether the count of a name is more than half the highest."""
        return 2 * self._counts.get(name, 0) > self._highest

    def __len__(self) -> int:
        return len(self._counts)


class Queues(Generic[Item]):
    """A queue for each address; subscribers come in turn, and the addresses of a subscriber among themselves."""

    def __init__(self) -> None:
        self.waiting = 0
        self._queues: OrderedDict[str, OrderedDict[Account, deque[Item]]] = OrderedDict()
        self._of_subscriber = Tally()
        self._of_address: dict[str, Tally] = {}

    def subscribers(self) -> Iterator[str]:
        """Those that have something waiting, in the order of their turns."""
        return iter(self._queues)

    def accounts(self, subscriber: str) -> Iterator[Account]:
        """The accounts of a subscriber that have something waiting, in the order of their turns."""
        return iter(self._queues[subscriber])

    def append(self, who: Account, item: Item) -> None:
        """Let something wait."""
        self._queues.setdefault(who.subscriber, OrderedDict()).setdefault(who, deque()).append(item)
        self._count(who, 1)

    def pop(self, who: Account) -> Item:
        """What has waited longest of an account, which goes to the end of the line."""
        accounts = self._queues[who.subscriber]
        item = accounts[who].popleft()
        accounts.move_to_end(who)
        self._queues.move_to_end(who.subscriber)
        self._leave(who)
        return item

    def pop_of_most(self) -> Item:
        """What has waited longest of who waits with most: of the subscriber, and of the address within it."""
        subscriber = self._of_subscriber.highest()
        address = self._of_address[subscriber].highest()
        who = Account(subscriber, address)
        item = self._queues[subscriber][who].popleft()
        self._leave(who)
        return item

    def is_long(self, who: Account) -> bool:
        """Whether a client waits with more than half of what who waits with most does: the subscriber, and the address
        within it."""
        return self._of_subscriber.is_high(who.subscriber) and self._of_address[who.subscriber].is_high(who.address)

    def _leave(self, who: Account) -> None:
        accounts = self._queues[who.subscriber]
        if not accounts[who]:
            del accounts[who]
            if not accounts:
                del self._queues[who.subscriber]
        self._count(who, -1)

    def _count(self, who: Account, number: int) -> None:
        self.waiting += number
        self._of_subscriber.add(who.subscriber, number)
        tally = self._of_address.setdefault(who.subscriber, Tally())
        tally.add(who.address, number)
        if not len(tally):
            del self._of_address[who.subscriber]
