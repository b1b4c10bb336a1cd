"""The configuration: `load` a file, `loads` a text, `dump` what is in effect.

models.py is the list of sections and keys; values.py and addresses.py read single values; checks.py knows what does not
go together; problems.py and syntax.py put complaints into words; toml.py writes.
"""

import codecs
import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from nat64d.config.checks import contradictions, not_supported_yet
from nat64d.config.defaults import BUILT_IN
from nat64d.config.errors import ConfigError, Problem
from nat64d.config.models import Config
from nat64d.config.problems import Finding, findings, problems
from nat64d.config.syntax import parse

BYTE_ORDER_MARK = "\ufeff"  # which some editors put in front of UTF-8 text

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
        return loads(DEFAULT, BUILT_IN)
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError([Problem(str(path), "", "", f"expected a readable file: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        if error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ConfigError([Problem(str(path), "", "", "is UTF-16: expected UTF-8 text, save it so")]) from None
        octet = f"octet {error.object[error.start]:#04x} at offset {error.start}"
        raise ConfigError([Problem(str(path), "", "", f"expected UTF-8 text, here is {octet}")]) from None
    return loads(text, str(path))


def load_offline(path: Path | None) -> Config:
    """The same for commands that translate without a network, where no prefix can be discovered."""
    config = load(path)
    if config.clat and config.pool6 is None:
        expected = "expected a prefix, as this command does not ask the network for it"
        raise ConfigError([Problem(str(path), "[clat] plat", '"discover"', expected)])
    return config


def loads(text: str, name: str = "configuration") -> Config:
    """The configuration in a text; raises ConfigError with all that is wrong, under the file name `name`."""
    with _without_collector():
        raw = parse(text.removeprefix(BYTE_ORDER_MARK), name)
        config, found = _read(raw)
        if found:
            raise ConfigError(problems(name, raw, found))
        return config


def dump(config: Config) -> str:
    """The configuration in effect, defaults included, as TOML that loads back to an equal Config."""
    keys = config.model_dump(mode="json", exclude_none=True)
    return tomli_w.dumps({key: content for key, content in keys.items() if content != []})


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
    together = [*not_supported_yet(config), *contradictions(raw, config)]
    return config, [*rejected, *(_renumbered(finding, rows) for finding in together)]


@contextmanager
def _without_collector() -> Iterator[None]:
    """Without garbage collection: searching 100,000 rows for cycles takes longer than reading them, and finds none."""
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
            return Finding((name, rows[name][row], *rest), finding.complaint)
    return finding
