"""The configuration: `load` a file, `loads` a text, `dump` what is in effect.

models.py is the list of sections and keys; values.py and addresses.py read single values; checks.py knows what does not
go together; problems.py puts complaints into words; toml.py writes.
"""

import gc
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nat64d.config import toml
from nat64d.config.checks import contradictions, not_supported_yet
from nat64d.config.models import Config, Forward, Pool4
from nat64d.config.problems import ConfigError, Finding, Problem, findings, problems

__all__ = ["DEFAULT", "Config", "ConfigError", "Forward", "Pool4", "Problem", "dump", "load", "load_offline", "loads"]

# Works on a host with one IPv4 address: a small link-local pool, masqueraded.  The ULA's global ID spells "nat64".
DEFAULT = """\
pool6 = "64:ff9b::/96"

[[pool4]]
addresses = "169.254.64.0/28"

[tun]
ipv4 = "169.254.64.254"
ipv6 = "fd6e:6174:3634::1"

[host]
masquerade = "auto"

[dns64]
"""


def load(path: Path | None) -> Config:
    """The configuration in a file, or the built-in default for None; raises ConfigError, also if unreadable."""
    if path is None:
        return loads(DEFAULT, "built-in default")
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError([Problem(str(path), "", "", f"a readable file: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        octet = f"octet {error.object[error.start]:#04x} at offset {error.start}"
        raise ConfigError([Problem(str(path), "", "", f"UTF-8 text, here is {octet}")]) from None
    return loads(text, str(path))


def load_offline(path: Path | None) -> Config:
    """The same for translation without a network: a prefix that is still to be discovered is wrong then."""
    config = load(path)
    if config.clat and config.pool6 is None:
        raise ConfigError([Problem(str(path), "[clat] plat", '"discover"', "a prefix, as nobody is asked for it here")])
    return config


def loads(text: str, name: str = "configuration") -> Config:
    """The configuration in a text; raises ConfigError with all that is wrong, under the file name `name`."""
    with _without_collector():
        raw = _parse(text, name)
        config, found = _read(raw)
        if found:
            raise ConfigError(problems(name, raw, found))
        return config


def dump(config: Config) -> str:
    """The configuration in effect, defaults included, as TOML that loads back to an equal Config."""
    return toml.document(config)


def _parse(text: str, name: str) -> dict[str, Any]:
    """TOML as dicts and lists; a syntax error ends the reading, so it comes alone."""
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number of too many digits
        what, place = re.fullmatch(r"(.*?)(?: \(at (.*)\))?", str(error), re.DOTALL).groups()  # type: ignore[union-attr]
        raise ConfigError([Problem(name, place or "", "", f"TOML: {what}")]) from None


def _read(raw: Mapping[str, Any]) -> tuple[Config, list[Finding]]:
    """The configuration that a file means, its faulty parts left out, and what is wrong with those."""
    try:
        config, rejected = Config.model_validate(raw), []
        rows: dict[str, list[int]] = {}
    except ValidationError as error:
        rejected = list(findings(error))
        sound, rows = _sound_parts(raw, rejected)
        config = Config.model_validate(sound)
    if config.clat and config.pool6 is None and config.clat.plat != "discover":
        config = config.with_plat(config.clat.plat)
    together = [*not_supported_yet(raw, config), *contradictions(raw, config)]
    return config, [*rejected, *(_renumbered(finding, rows) for finding in together)]


@contextmanager
def _without_collector() -> Iterator[None]:
    """No search for cycles of garbage: among 100,000 rows it takes longer than reading them, and there are none."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _sound_parts(raw: Mapping[str, Any], rejected: Iterable[Finding]) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """The file without its faulty keys, rows and optional tables, so that what is left can be checked in the same run.

    Also, for each list of tables, the numbers that its remaining rows have in the file.
    """
    bad = {finding.path[:2] for finding in rejected}
    bad |= {
        (name,) for name, *_ in bad if name in Config.model_fields and Config.model_fields[str(name)].default is None
    }
    sound: dict[str, Any] = {}
    rows: dict[str, list[int]] = {}
    for name, content in raw.items():
        if (name,) in bad:
            continue
        sound[name] = content
        if isinstance(content, list):
            rows[name] = [row for row in range(len(content)) if (name, row) not in bad]
            sound[name] = [content[row] for row in rows[name]]
        elif isinstance(content, dict):
            sound[name] = {key: value for key, value in content.items() if (name, key) not in bad}
    return sound, rows


def _renumbered(finding: Finding, rows: Mapping[str, list[int]]) -> Finding:
    """A finding in the sound parts, at its place in the file."""
    match finding.path:
        case (str(name), int(row), *rest) if name in rows:
            return Finding((name, rows[name][row], *rest), finding.expected)
    return finding
