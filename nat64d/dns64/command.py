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

from nat64d.config.defaults import BUILT_IN
from nat64d.config.errors import ConfigError, Problem
from nat64d.config.load import load
from nat64d.config.models import Config, Dns64
from nat64d.config.problems import ABSENT
from nat64d.dns64.export import PROGRAMS, Intent
from nat64d.dns64.message.reply import BUFFER
from nat64d.dns64.message.wire import IN, RD, Edns, Message, Question, name_of, text_of, write
from nat64d.dns64.rules.policy import policy_in
from nat64d.dns64.service.plan import RESOLV_CONF, plan, system_servers
from nat64d.dns64.service.process import Process
from nat64d.dns64.service.supervisor import facts, planned
from nat64d.dns64.upstreams.exchange import ServerAddress, server_addresses
from nat64d.exitcode import ExitCode

Address = IPv4Address | IPv6Address


def trace(name: str, type_: str, client: str | None, path: Path | None, as_json: bool) -> ExitCode:
    """Ask as a client of this configuration would, and print each step; WRONG if the query fails. Raises
    ConfigError."""
    config = load(path)
    try:
        question = _question(name, type_)
        address = ip_address(client) if client else None
    except (ValueError, dns.exception.DNSException):
        given = " ".join(filter(None, (name, type_, client)))
        typer.echo(f"{given}: expected a domain name or an address, a type such as AAAA, a client's address", err=True)
        return ExitCode.USAGE
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
    return ExitCode.GOOD if rcode in {"NOERROR", "NXDOMAIN"} else ExitCode.WRONG


def _question(name: str, type_: str) -> Question:
    """The question: PTR for an address, AAAA for a name, unless a type is given. Raises ValueError, DNSException."""
    try:
        name, usual = ip_address(name).reverse_pointer, "PTR"
    except ValueError:
        usual = "AAAA"
    return Question(name_of(name), dns.rdatatype.from_text(type_ or usual), IN, 0)


async def _asked(config: Config, question: Question, client: Address | None) -> tuple[bytes, list[str]]:
    """The answer, and the sentences of the trace."""
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


def export(program: str, path: Path | None) -> ExitCode:
    """Print the configuration for another program, and on standard error what it cannot express. Raises ConfigError."""
    if program not in PROGRAMS:
        typer.echo(f"{program}: expected one of {', '.join(PROGRAMS)}", err=True)
        return ExitCode.USAGE
    config = load(path)
    if config.pool6 is None:
        raise ConfigError(
            [
                Problem(
                    str(path or BUILT_IN), "pool6", ABSENT, "expected a prefix: without one there is nothing to export"
                )
            ]
        )
    text, losses = PROGRAMS[program](intent_of(config))
    typer.echo(text, nl=False)
    for loss in losses:
        typer.echo(f"{program}: {loss}", err=True)
    return ExitCode.GOOD


def intent_of(config: Config) -> Intent:
    """What is to be exported: the name server's plan, without what depends on the links of this host."""
    document = plan(config, [], _system())
    policies = tuple(policy_in(each) for each in document["policies"])
    listen = tuple((place.address, place.port) for place in server_addresses(document["listen"]))
    upstream = tuple(server_addresses(document["upstream"]))
    return Intent(policies, listen, upstream, bool(document["maps"]), document["dns46"])


def _system() -> list[ServerAddress]:
    return system_servers(RESOLV_CONF.read_text("utf-8"), []) if RESOLV_CONF.exists() else []
