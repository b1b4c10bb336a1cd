"""`nat64d dns64 trace NAME` and `nat64d export PROGRAM`: what the configuration means, without a daemon."""

import asyncio
import json
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import typer

from nat64d.config import Config, ConfigError, load
from nat64d.config.models import Dns64
from nat64d.dns64.exchange import Server, servers_in
from nat64d.dns64.export import PROGRAMS, Wish
from nat64d.dns64.nameserver import facts, planned
from nat64d.dns64.plan import RESOLV_CONF, non_global, plan, system_servers
from nat64d.dns64.policy import policy_in
from nat64d.dns64.process import Process
from nat64d.dns64.reply import BUFFER
from nat64d.dns64.wire import IN, RD, Edns, Message, Question, name_of, text_of, write

Address = IPv4Address | IPv6Address
GOOD, WRONG, USAGE = 0, 1, 2


def trace(name: str, type_: str, client: str | None, path: Path | None, as_json: bool) -> int:
    """Ask as a client of this configuration would, and tell each step; 0 if there is an answer, 1 if it failed."""
    try:
        config = load(path)
        question = _question(name, type_)
        address = ip_address(client) if client else None
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        return USAGE
    except (ValueError, dns.exception.DNSException):
        given = " ".join(filter(None, (name, type_, client)))
        typer.echo(f"{given}: expected a domain name or an address, a type such as AAAA, a client's address", err=True)
        return USAGE
    octets, told = asyncio.run(_asked(config, question, address))
    answer = dns.message.from_wire(octets)
    records = [line for rrset in answer.answer for line in rrset.to_text().splitlines()]
    rcode = dns.rcode.to_text(answer.rcode())
    if as_json:
        asked = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(question.type))
        document = {"name": text_of(question.name), "type": asked, "steps": told, "rcode": rcode, "answer": records}
        typer.echo(json.dumps(document))
    else:
        for line in (*told, f"answer: {rcode}", *(f"  {record}" for record in records)):
            typer.echo(line)
    return GOOD if rcode in {"NOERROR", "NXDOMAIN"} else WRONG


def _question(name: str, type_: str) -> Question:
    """What is asked: PTR of an address, AAAA of a name, unless a type is given. Raises ValueError, DNSException."""
    try:
        name, usual = ip_address(name).reverse_pointer, "PTR"
    except ValueError:
        usual = "AAAA"
    return Question(name_of(name), dns.rdatatype.from_text(type_ or usual), IN, 0)


async def _asked(config: Config, question: Question, client: Address | None) -> tuple[bytes, list[str]]:
    """The answer, and what was told on the way to it."""
    given = config.dns64 or Dns64()
    document = planned(config, await asyncio.to_thread(facts), given.listen) | {"cache": 0}
    process = Process(document)
    process.know(document)
    process.ready = True
    query = Message(0, RD, question, ([], [], []), Edns(BUFFER, 0, 0, False, b""))
    told: list[str] = []
    try:
        number = len(given.policy)
        if client is not None:
            answer, _, number = process.resolver.at_once(write(query), str(client))
            if answer is not None:
                return answer, [how.help for how in process.resolver.counters.counts]
        answer = await process.resolver.resolve(query, number, told.append)
        return answer, list(told)
    finally:
        await process.close()


def export(program: str, path: Path | None) -> int:
    """Print the configuration of another program on standard output, and what it does not say on standard error."""
    if program not in PROGRAMS:
        typer.echo(f"{program}: expected one of {', '.join(PROGRAMS)}", err=True)
        return USAGE
    try:
        config = load(path)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        return USAGE
    if config.pool6 is None:
        typer.echo("pool6 (absent): expected a prefix: without one there is nothing to say", err=True)
        return WRONG
    text, losses = PROGRAMS[program](wish_of(config))
    typer.echo(text, nl=False)
    for loss in losses:
        typer.echo(f"{program}: {loss}", err=True)
    return GOOD


def wish_of(config: Config) -> Wish:
    """What [dns64] and pool6 ask for: what the name server is told, but for the links of this host."""
    document = plan(config, [], non_global(), _system())
    policies = tuple(policy_in(each) for each in document["policies"])
    listen = tuple((place.address, place.port) for place in servers_in(document["listen"]))
    upstream = tuple(servers_in(document["upstream"]))
    return Wish(policies, listen, upstream, bool(document["maps"]), document["dns46"])


def _system() -> list[Server]:
    return system_servers(RESOLV_CONF.read_text("utf-8"), []) if RESOLV_CONF.exists() else []
