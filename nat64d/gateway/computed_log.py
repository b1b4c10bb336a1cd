"""RFC 7422 section 3: what the computed blocks of ports follow from is in the log, whenever it changes and once a day,
so that a report of abuse finds the configuration of its time."""

import logging

from nat64d.config.computed import computed_of
from nat64d.config.models import Config
from nat64d.config.pool4 import Pool4

DAY = 86400.0  # seconds


def sentence_of(config: Config, pool: Pool4) -> str:
    """All that the blocks of a deterministic [[pool4]] are computed from: inside and outside prefix, dynamic part,
    most ports, ports that are not reserved. The order is always that of the prefixes."""
    limits, computed = config.limits, computed_of(pool, config.limits)
    dynamic = computed.of - computed.each
    return (
        f"Computed ports (RFC 7422): {pool.source} in /{limits.subscriber}, {pool.addresses} ports {pool.ports}, "
        f"blocks of {limits.port_block}: of each address {computed.each} computed, in order, {dynamic} dynamic; "
        f"at most {limits.blocks} a subscriber"
    )


class ComputedLog:
    """Says so; the clock is an argument."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: list[str] = []
        self._config: Config | None = None
        self._at = 0.0

    def look(self, config: Config, moment: float) -> None:
        """To be called every second or so; `moment` is time.monotonic()."""
        is_due = bool(self._said) and moment - self._at >= DAY
        if config is self._config and not is_due:
            return
        self._config = config
        sentences = [sentence_of(config, pool) for pool in config.pool4 if pool.deterministic]
        if sentences == self._said and not is_due:
            return
        for sentence in sentences or ["Computed ports (RFC 7422): none any more"]:
            self._log.info("%s", sentence, extra={"event": "computed_ports"})
        self._said, self._at = sentences, moment
