"""How the mirror, the controller or the routes of a node stand: for probes, for Prometheus, and for people."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from aiohttp import web

from nat64d import __version__
from nat64d.kubernetes.mappings import KIND
from nat64d.kubernetes.pace import moment

if TYPE_CHECKING:  # each of these is loaded by the command that needs it
    from nat64d.kubernetes.controller import Controller
    from nat64d.kubernetes.leases import Election
    from nat64d.kubernetes.listwatch import Contact, Follower
    from nat64d.kubernetes.mirror import Mirror
    from nat64d.kubernetes.next_hops import NextHops

METRICS = "text/plain; version=0.0.4"


Row: TypeAlias = tuple[str, str, str, dict[str, float]]  # name, type, help, value by labels


class Standing(ABC):
    """What is known of the API server, and whatever else there is."""

    def __init__(self, followers: "list[Follower]") -> None:
        self.contacts: list[Contact] = [one.contact for one in followers]

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it does what it is for; it stays so while the API server is silent."""

    @abstractmethod
    def about(self) -> dict[str, object]:
        """The rest of the document."""

    @abstractmethod
    def rows(self) -> Iterable[Row]:
        """The rest of the metrics."""

    @property
    def stale(self) -> float:
        """Seconds for which the API server was not heard."""
        now = moment()
        return max((now - one.since for one in self.contacts if one.since is not None), default=0.0)

    def document(self) -> dict[str, object]:
        """All of it."""
        return {
            "version": __version__,
            "ready": self.is_ready,
            "stale_seconds": round(self.stale, 1),
            "api_server": {
                one.kind.name: one.why or ("followed" if one.synced else "not read yet") for one in self.contacts
            },
            **self.about(),
        }

    def metrics(self) -> Iterator[str]:
        """In the format of Prometheus."""
        relists = {f'{{kind="{one.kind.name}"}}': float(max(0, one.lists - 1)) for one in self.contacts}
        errors = {f'{{kind="{one.kind.name}"}}': float(one.errors) for one in self.contacts}
        common: list[Row] = [
            ("stale_seconds", "gauge", "For how long the API server was not heard.", {"": self.stale}),
            ("relists_total", "counter", "How often all was read anew.", relists),
            ("watch_errors_total", "counter", "How often the API server was lost.", errors),
        ]
        for name, kind, help_, samples in (*self.rows(), *common):
            full = f"nat64d_kubernetes_{name}"
            yield f"# HELP {full} {help_}"
            yield f"# TYPE {full} {kind}"
            for labels, value in samples.items():
                yield f"{full}{labels} {value:.15g}"

    def app(self) -> web.Application:
        """/healthz, /readyz, /metrics, /status."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status", self._status)
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n" if self.is_ready else "not synced yet\n", status=200 if self.is_ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        text = "\n".join((*self.metrics(), ""))
        return web.Response(body=text.encode(), headers={"Content-Type": METRICS})

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self.document())


class MirrorStanding(Standing):
    """That of a mirror."""

    def __init__(self, mirror: "Mirror", followers: "list[Follower]") -> None:
        super().__init__(followers)
        self.mirror = mirror

    @property
    def is_ready(self) -> bool:
        """Whether the daemon has what the cluster said."""
        return self.mirror.is_known and bool(self.mirror.daemon.version)

    def about(self) -> dict[str, object]:
        """Of the daemon, and of the rows that it has."""
        mirror, teller = self.mirror, self.mirror.teller
        return {
            "daemon": "lost" if mirror.lost_since is not None else "in step" if teller.in_step else "behind",
            "services": len(mirror.made),
            "mappings": len(mirror.mappings),
            "rows": len(teller.wanted),
            "endpoints": sum(len(row.get("endpoints", ())) for row in teller.wanted.values()),
            "refused": teller.refused,
            "lacks": {"/".join(key): made.lacks for key, made in mirror.made.items() if made.lacks}
            | {f"{KIND} {name}": [one.problem.sentence] for name, one in mirror.mapped.items() if one.problem},
        }

    def rows(self) -> Iterable[Row]:
        """Of what the daemon was told."""
        teller = self.mirror.teller
        synced = float(self.is_ready and teller.in_step)
        yield "synced", "gauge", "Whether the daemon has all that the cluster said.", {"": synced}
        yield "services", "gauge", "Services of this gateway.", {"": float(len(self.mirror.made))}
        yield "mappings", "gauge", "StaticMappings.", {"": float(len(self.mirror.mappings))}
        yield "refused", "gauge", "Rows that the daemon does not take.", {"": float(len(teller.refused))}
        yield "changes_total", "counter", "Changes that the daemon has taken.", {"": float(teller.told)}


class ControllerStanding(Standing):
    """That of a controller."""

    def __init__(self, controller: "Controller", election: "Election", followers: "list[Follower]") -> None:
        super().__init__(followers)
        self.controller, self.election = controller, election

    @property
    def is_ready(self) -> bool:
        """Whether all was read once: then it can lead, or does."""
        return self.controller.is_known

    def about(self) -> dict[str, object]:
        """Who writes, and what is known."""
        controller = self.controller
        return {
            "leads": self.election.leads,
            "services": len(controller.wishes),
            "pools": sorted(name for _, name in controller.pools),
            "gateways": controller.gateways().applied,
        }

    def rows(self) -> Iterable[Row]:
        """Of what it writes."""
        controller = self.controller
        yield "leads", "gauge", "Whether this controller is the one that writes.", {"": float(self.election.leads)}
        yield "gateways", "gauge", "Gateways that renew their Lease.", {"": float(len(controller.gateways().applied))}
        yield "statuses_total", "counter", "Statuses that were written.", {"": float(controller.patches)}


class RoutesStanding(Standing):
    """That of the routes of a node."""

    def __init__(self, hops: "NextHops", followers: "list[Follower]") -> None:
        super().__init__(followers)
        self.hops = hops

    @property
    def is_ready(self) -> bool:
        """Whether each prefix has a next hop."""
        return len(self.hops.there) == len(self.hops.prefixes)

    def about(self) -> dict[str, object]:
        """Where what goes."""
        next_hops = {str(prefix): gateway for prefix, gateway in self.hops.there.items()}
        return {"gateways": self.hops.members.alive, "next_hops": next_hops}

    def rows(self) -> Iterable[Row]:
        """Of gateways and routes."""
        hops = self.hops
        yield "gateways", "gauge", "Gateways that renew their Lease.", {"": float(len(hops.members.alive))}
        yield "next_hops", "gauge", "Prefixes that go by a gateway.", {"": float(len(hops.there))}
