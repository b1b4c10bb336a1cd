"""What a package has besides the program: `python -m nat64d.cli.manual DIRECTORY CONFIG` writes it below DIRECTORY.

Manual pages: nat64d(8) from what `--help` says, nat64d.toml(5) from CONFIG, which has every key with a comment. Shell
completion: typer's scripts. The configuration to begin with: the built-in default.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer._completion_shared import get_completion_script
from typer.main import get_command

from nat64d import __version__
from nat64d.cli.app import app
from nat64d.config.defaults import CONFIG_FILE, SOCKET
from nat64d.config.load import DEFAULT
from nat64d.exitcode import RULE

ABOUT = "NAT64 gateway: IPv6-only hosts reach IPv4 servers"
FILES = (
    (str(CONFIG_FILE), "The configuration, see nat64d.toml(5). Without it the built-in default runs."),
    (SOCKET, "The control socket, by which the other commands ask the daemon."),
    ("/run/nat64d/*.state", "Sessions of each device, kept over a restart."),
    ("/run/nat64d/*.state.sources", "What was set beside the configuration, kept over a restart of the daemon."),
    ("/var/cache/nat64d", "Compiled code."),
)
FIRST_CONFIG = """\
# The built-in default, which also runs without this file. All keys: nat64d.toml(5); test a change with `nat64d check`.
"""
COMPLETIONS = {  # shell: where Debian has its completions
    "bash": "usr/share/bash-completion/completions/nat64d",
    "zsh": "usr/share/zsh/vendor-completions/_nat64d",
    "fish": "usr/share/fish/vendor_completions.d/nat64d.fish",
}
SECTION = re.compile(r"#?(\[\[?\w+\]?\])$")
KEY = re.compile(r"#?(\w+) = (.*)$")


def escaped(text: str) -> str:
    """Text as it is, to roff: no escapes, hyphens that can be searched for, no requests."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def head(title: str, section: int, name: str) -> list[str]:
    """The first lines of a page."""
    return [f'.TH {title} {section} "" "nat64d {__version__}"', ".SH NAME", rf"{title.lower()} \- {escaped(name)}"]


def tagged(tag: str, text: str) -> list[str]:
    """A paragraph with a tag in bold beside it."""
    return [".TP", rf"\fB{escaped(tag)}\fR", escaped(text)]


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The commands below one, with their full names."""
    for short, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, f"{name} {short}")
        elif not each.hidden:
            yield f"{name} {short}", each


def command_page() -> str:
    """nat64d(8)."""
    lines = head("NAT64D", 8, ABOUT)
    lines += [".SH SYNOPSIS", r"\fBnat64d\fR \fICOMMAND\fR [\fIOPTIONS\fR]", ".SH COMMANDS"]
    for name, command in commands(get_command(app), "nat64d"):
        context = command.make_context(name, [], resilient_parsing=True, **(app.info.context_settings or {}))
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        lines += [f'.SS "{escaped(usage)}"', escaped(" ".join(command.help.split()))]
        for parameter in command.get_params(context):
            if record := parameter.get_help_record(context):
                lines += tagged(*record)
    lines += [".SH EXIT STATUS", escaped(RULE[0].upper() + RULE[1:] + "."), ".SH FILES"]
    for path, text in FILES:
        lines += tagged(path, text)
    return "\n".join([*lines, ".SH SEE ALSO", r"\fBnat64d.toml\fR(5), \fBnft\fR(8), \fBsystemd.service\fR(5)", ""])


def config_page(text: str) -> str:
    """nat64d.toml(5); `text` is that of config/nat64d.toml: comments stand above the section or key they are about."""
    lines = [*head("NAT64D.TOML", 5, "configuration of nat64d"), ".SH DESCRIPTION"]
    comments: list[str] = []
    for line in text.splitlines():
        section, key = SECTION.match(line), KEY.match(line)
        about = " ".join(comments)
        if section:
            lines += [f'.SH "{escaped(section[1])}"', escaped(about)]
        elif key:
            lines += tagged(f"{key[1]} = {key[2]}", about)
        elif not line:
            lines += [escaped(about), ".PP"] if comments else []
        else:
            comments.append(line.removeprefix("#").strip())
            continue
        comments = []
    return "\n".join([*lines, ".SH SEE ALSO", r"\fBnat64d\fR(8)", ""])


def completion(shell: str) -> str:
    """What a shell needs to complete the command."""
    return get_completion_script(prog_name="nat64d", complete_var="_NAT64D_COMPLETE", shell=shell) + "\n"


def write(directory: Path, config: Path) -> None:
    """Write all of it below `directory`."""
    texts = {
        "usr/share/man/man8/nat64d.8": command_page(),
        "usr/share/man/man5/nat64d.toml.5": config_page(config.read_text("utf-8")),
        **{path: completion(shell) for shell, path in COMPLETIONS.items()},
        str(CONFIG_FILE).lstrip("/"): FIRST_CONFIG + DEFAULT,
    }
    for path, text in texts.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
