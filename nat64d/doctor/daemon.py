"""The daemon: whether it answers, whether it is ready, what it warns of, and how full it is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nat64d import __version__
from nat64d.config.defaults import SOCKET
from nat64d.config.models import Config
from nat64d.control.client import Client, DaemonUnreachableError, RequestRefusedError
from nat64d.doctor.finding import Said, error, note, warning
from nat64d.doctor.look import NEEDS_ROOT, Look, UnseenError
from nat64d.host.presence import instances

TIMEOUT = 5.0  # seconds
TRANSLATES = {"ready", "blocked", "draining"}  # states of a daemon
FULL = 0.8  # of a pool or table: the share that the alerts of docs/monitoring.md have

Row = Mapping[str, Any]  # of the API


class Answer(NamedTuple):
    """What came of asking the daemon: its status, or None and a clause that says why there is none. `runs`: whether an
    instance has the device of the configuration."""

    status: Row | None
    why: str
    runs: bool


# ---- read


def answer(look: Look) -> Answer:
    """Ask for the status."""
    config = look.config
    runs = config.tun.name in instances()
    try:
        return Answer(_client(config).document("/v1/status"), "", runs)
    except DaemonUnreachableError as failure:
        if isinstance(failure.__cause__, PermissionError):
            raise UnseenError(f"{NEEDS_ROOT}, or the group of {config.api.socket}") from None
        return Answer(None, str(failure), runs)
    except RequestRefusedError as refusal:
        return Answer(None, str(refusal), runs)


def status(look: Look) -> Row:
    """The status of a daemon that answers."""
    answered: Answer = look["answer"]
    if answered.status is None:
        raise UnseenError("no daemon answers")
    return answered.status


def pools(look: Look) -> Sequence[Row]:
    """How many ports of each [[pool4]] are in use."""
    state = look["status"]["state"]
    if state not in TRANSLATES:
        raise UnseenError(f"the daemon is {state}")
    try:
        return list(_client(look.config).rows("/v1/pools", {}))
    except (DaemonUnreachableError, RequestRefusedError) as failure:
        raise UnseenError(str(failure)) from None


def process(look: Look) -> int:
    """The process that answers, 0 if it is in another container."""
    look["status"]
    try:
        return _client(look.config).process()
    except DaemonUnreachableError as failure:
        raise UnseenError(str(failure)) from None


def _client(config: Config) -> Client:
    return Client(config.api.socket, TIMEOUT)


def asking(config: Config, command: str) -> str:
    """A client command that finds the daemon of this configuration."""
    return f"nat64d {command}" + (f" --socket {config.api.socket}" if config.api.socket != SOCKET else "")


# ---- judged


def unready(config: Config, answered: Answer) -> Iterator[Said]:
    """There is none, it does not answer, or it does not translate. What blocks packets, conditions say."""
    if answered.status:
        state = answered.status["state"]
        if state not in TRANSLATES:
            yield error(
                f"The daemon does not translate packets yet: {state}. Run '{asking(config, 'status --wait 300')}'."
            )
    elif answered.runs:
        yield error(
            f"A daemon has the device {config.tun.name}, but does not answer at [api] socket: {answered.why}. If it "
            "was started with another file, give that with -c."
        )
    else:
        yield note(f"No daemon runs for {config.tun.name}: what it sets up is not looked at.")


def warned(_config: Config, status: Row) -> Iterator[Said]:
    """What the daemon says of itself."""
    yield from map(warning, status.get("warnings", ()))


def outdated(config: Config, status: Row) -> Iterator[Said]:
    """It runs with another version, or with a file that was changed since."""
    restart = "Restart it, for example: run 'systemctl restart nat64d'."
    reload = restart if config.clat else f"Run '{asking(config, 'reload')}'."
    if status["version"] != __version__:
        yield warning(f"The daemon is version {status['version']}, this command {__version__}. {restart}")
    discovers = config.clat is not None and config.pool6 is None
    prefix = str(config.pool6) if config.pool6 else None
    for key, there, here, remedy in (
        ("pool6", status["pool6"], status["pool6"] if discovers else prefix, reload),
        ("[limits] sessions", status["limits"].get("sessions"), config.limits.sessions, restart),
    ):
        if there != here:
            yield warning(f"The daemon runs with {key} = {there}, the file says {here}. {remedy}")


def pools_fill(config: Config, rows: Sequence[Row]) -> Iterator[Said]:
    """New connections fail when all ports are taken."""
    for row in rows:
        if row["total"] and row["used"] >= FULL * row["total"]:
            share = 100 * row["used"] // row["total"]
            yield warning(
                f"[[pool4]] {row['addresses']}: {share} % of the {row['protocol']} ports are in use, and without a "
                f"free one new connections fail. Add addresses; to see who has them, run '{asking(config, 'bib')}'."
            )


def table_fills(config: Config, status: Row) -> Iterator[Said]:
    """The same for sessions."""
    most = status["limits"].get("sessions")
    if most and status["sessions"] >= FULL * most:
        yield warning(
            f"{status['sessions']:,} of {most:,} sessions are open, and with a full table new connections fail. Raise "
            f"[limits] sessions; to see whose they are, run '{asking(config, 'sessions')}'."
        )
