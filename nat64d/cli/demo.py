"""`nat64d demo`: an IPv6-only client fetches a page from an IPv4-only server by name, in three network namespaces.

client6 ── 2001:db8:1::/64 ── gateway ── 192.0.2.0/24 ── server4
    ::10                   ::1  nat64d  .254            .1
"""

import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, UDPServer
from textwrap import indent

import dns.message
import dns.rdatatype
import dns.rrset
from rich.console import Console
from rich.text import Text

from nat64d.cli.lab import NAT64D, Daemon, Lab, LabError, Namespace, obstacle
from nat64d.exitcode import ExitCode

CLIENT6, GATEWAY6 = "2001:db8:1::10", "2001:db8:1::1"
SERVER4, GATEWAY4 = "192.0.2.1", "192.0.2.254"
POOL4 = "203.0.113.0/30"
POOL6 = "64:ff9b::/96"
NAME = "server4.example"
URL = f"http://{NAME}/"

CONFIG = f"""\
pool6 = "{POOL6}"
strict_well_known_prefix = false  # {SERVER4} is a documentation address

[[pool4]]
addresses = "{POOL4}"

[dns64]
upstream = ["{SERVER4}"]
"""

PICTURE = f"""\
client6 ─────────────── gateway ─────────────── server4
IPv6 only               nat64d                  IPv4 only, {NAME}
{CLIENT6:<23} pool {POOL4:<18} {SERVER4}
"""


def main() -> ExitCode:
    """Run the demonstration; WRONG, with a sentence on standard error, if the page does not come through."""
    console, complaints = Console(highlight=False), Console(stderr=True, highlight=False, soft_wrap=True)
    why = obstacle() if shutil.which("curl") else "The program curl is not installed."
    if why:
        complaints.print(f"nat64d demo: {why}", markup=False)
        return ExitCode.WRONG
    try:
        with tempfile.TemporaryDirectory(prefix="nat64d-demo-") as directory, Lab("demo") as lab:
            _show(console, lab, Path(directory))
    except LabError as error:
        complaints.print(f"nat64d demo: {error}", markup=False)
        return ExitCode.WRONG
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.GOOD


def serve() -> None:
    """Run in server4: a web server, whose page names the client's address, and the name server of NAME."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = f"Hello {self.client_address[0]}, this is {SERVER4}. I speak IPv4 and nothing else.\n".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    class Name(BaseRequestHandler):
        def handle(self) -> None:
            octets, udp = self.request
            udp.sendto(address_of(octets), self.client_address)

    with HTTPServer((SERVER4, 80), Page) as server, UDPServer((SERVER4, 53), Name) as names:
        threading.Thread(target=names.serve_forever, daemon=True).start()
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        server.serve_forever()


def address_of(octets: bytes) -> bytes:
    """The answer to a DNS query in wire format: NAME has one A record, all other names and types have none."""
    query = dns.message.from_wire(octets)
    answer = dns.message.make_response(query)
    asked = query.question[0]
    if (asked.name.to_text().lower(), asked.rdtype) == (f"{NAME}.", dns.rdatatype.A):
        answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "A", SERVER4))
    return answer.to_wire()


def _show(console: Console, lab: Lab, directory: Path) -> None:
    """The demonstration itself, printed to `console`; raises LabError."""
    client, gateway, server = _network(lab)
    client.use_resolver(GATEWAY6, directory)
    console.print()
    _output(console, PICTURE)
    _start_servers(server)
    _heading(console, client, f"curl http://{SERVER4}/")
    _output(console, client.run("curl", "-sS", "--max-time", "5", f"http://{SERVER4}/", check=False).stderr)

    daemon = Daemon(gateway, directory, CONFIG)
    _heading(console, gateway, "nat64d run -c demo.toml")
    _output(console, CONFIG)
    with console.status("Starting nat64d"):
        daemon.start()
    _output(console, daemon.said())

    _heading(console, client, f"curl {URL}")
    _output(console, client.run("curl", "-sS", "--fail", "--max-time", "10", URL).stdout)
    _heading(console, gateway, f"nat64d dns64 trace {NAME} -c demo.toml")
    trace = (*NAT64D, "dns64", "trace", NAME, "-c", str(directory / "nat64d.toml"))
    _output(console, gateway.run(*trace).stdout)
    for listing in ("sessions", "counters"):
        _heading(console, gateway, f"nat64d {listing}")
        _output(console, daemon.ask(listing).stdout)
    status = daemon.stop()
    if status != 0:
        raise LabError(f"nat64d exited with {status}:\n{daemon.said()}")
    console.print("[green]The page came through NAT64.[/] Namespaces, daemon and servers are removed again.")


def _network(lab: Lab) -> tuple[Namespace, Namespace, Namespace]:
    """Client, gateway and server, linked and routed as drawn above."""
    client, gateway, server = (lab.namespace(name) for name in ("client6", "gateway", "server4"))
    lab.link(client, [f"{CLIENT6}/64"], gateway, [f"{GATEWAY6}/64"])
    lab.link(gateway, [f"{GATEWAY4}/24"], server, [f"{SERVER4}/24"])
    client.route("default", GATEWAY6)
    server.route(POOL4, GATEWAY4)
    return client, gateway, server


def _start_servers(server: Namespace) -> None:
    """Start `serve` in the namespace and wait until it listens; raises LabError."""
    command = (sys.executable, "-c", "from nat64d.cli.demo import serve; serve()")
    process = server.popen(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if process.stdout is None or process.stdout.readline() != "listening\n":
        raise LabError(f"The servers did not start: {process.communicate()[1].strip()}")


def _heading(console: Console, host: Namespace, command: str) -> None:
    """Print a command as typed at a prompt."""
    console.print(Text.assemble((f"{host.name}$ ", "bold cyan"), (command, "bold")))


def _output(console: Console, text: str) -> None:
    """Print the output of a command, indented."""
    console.print(Text(indent(text.strip("\n"), "  ") + "\n"), soft_wrap=True)
