"""Where nat64d's files are. Needs only tomllib, so that client commands start at once."""

import tomllib
from pathlib import Path

CONFIG_FILE = Path("/etc/nat64d/nat64d.toml")
SOCKET = "/run/nat64d/api.sock"
BUILT_IN = "built-in default"  # the name of the configuration that runs without a file


def config_file(path: Path | None) -> Path | None:
    """The file meant by `-c PATH`: the one given, else the installed one if it exists, else None (built-in default)."""
    if path is None and CONFIG_FILE.exists():
        return CONFIG_FILE
    return path


def socket_path(path: Path | None) -> str:
    """The daemon's control socket, `[api] socket` of the configuration file.

    A file that is missing or damaged names no socket, and the default is taken: it is the daemon's
    business to complain about its configuration, not that of a program asking for its counters.
    """
    file = config_file(path)
    if file is None:
        return SOCKET
    try:
        api = tomllib.loads(file.read_text("utf-8")).get("api")
    except (OSError, ValueError):  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        return SOCKET
    socket = api.get("socket") if isinstance(api, dict) else None
    return socket if isinstance(socket, str) and socket else SOCKET
