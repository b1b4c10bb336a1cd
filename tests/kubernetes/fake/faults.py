"""What can be wrong with an API server, switched by the tests while it runs."""

from dataclasses import dataclass, field


@dataclass
class Refusal:
    """The next requests are answered with this status. `times`: how many, -1 = all until it is taken back; `methods`:
    of which, () = of all."""

    status: int
    retry_after: str | None = None
    times: int = -1
    watches_too: bool = True
    methods: tuple[str, ...] = ()


@dataclass
class Faults:
    """All off."""

    frozen: bool = False  # takes connections and requests, and sends not one octet more: half open
    refusal: Refusal | None = None
    delay: float = 0.0  # seconds before each answer
    cut: bool = False  # the next event of a watch is sent by half, then the connection ends
    garbage: bool = False  # the next line of a watch is no JSON
    lists_fail_after: int | None = None  # pages of a list that are answered before one is not
    tokens: dict[str, list[dict[str, list[str]]] | None] = field(default_factory=dict)  # what each may; None = all

    def refuses(self, method: str, watch: bool) -> Refusal | None:
        """What this request is answered with, if anything is wrong."""
        one = self.refusal
        if one is None or (watch and not one.watches_too) or not one.times:
            return None
        if one.methods and method not in one.methods:
            return None
        one.times -= one.times > 0
        return one

    def allows(self, header: str | None, group: str, resource: str, verb: str) -> int:
        """The status with which a token is refused, 0 if it is not. Without tokens everybody may do everything."""
        if not self.tokens:
            return 0
        token = (header or "").removeprefix("Bearer ")
        if token not in self.tokens:
            return 401
        rules = self.tokens[token]
        if rules is None:
            return 0
        for rule in rules:
            if group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]:
                return 0
        return 403
