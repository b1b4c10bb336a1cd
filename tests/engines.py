"""Engines of one configuration: what follows from it alone is computed once, however many engines it takes."""

from dataclasses import fields, replace
from functools import cached_property

import numpy as np

from nat64d.config.models import Config
from nat64d.config.settings import settings_of, tables_of
from nat64d.offline.engine import Engine
from tests.packets import GENERATED_ID
from translator.tables.gateway import Gateway, new_worker
from translator.tables.settings import Settings
from translator.tables.tables import Tables


class Engines:
    """A configuration and its Settings, which nothing may change."""

    def __init__(self, config: Config, secret: bytes = bytes(16)) -> None:
        self.config = config
        self.settings = settings_of(config, secret)

    @cached_property
    def predictable(self) -> Settings:
        """The Settings, but for Identifications: there is only GENERATED_ID."""
        return replace(self.settings, identifications=np.full(65536, GENERATED_ID, np.int32))

    @cached_property
    def first(self) -> tuple[Tables, set[str]]:
        """Tables as they begin, and the names of those arrays that hold nothing but zeros."""
        tables = tables_of(self.config, self.settings)
        return tables, {each.name for each in fields(tables) if not getattr(tables, each.name).view(np.uint8).any()}

    def tables(self) -> Tables:
        """Tables as they begin: made as a copy, for the pages of a large array of zeros need not be there."""
        tables, zeros = self.first
        copies = {}
        for name in (each.name for each in fields(tables)):
            array = getattr(tables, name)
            copies[name] = np.zeros(array.shape, array.dtype).view(type(array)) if name in zeros else array.copy()
        return Tables(**copies)

    def new(self) -> Engine:
        """An engine as Engine(config, secret) would be long after its start: it remembers nothing."""
        engine = Engine.of(Gateway(self.settings, self.tables(), new_worker(0)))
        engine.config = self.config
        return engine
