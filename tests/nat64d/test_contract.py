"""What Schemathesis makes of the OpenAPI document: requests as it allows them, requests as it does not, and each answer
compared with it.

The API is the real one, on a control socket, before a gateway with a row of everything. Schemathesis sends over TCP;
here its requests take the socket.
"""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from nat64d.config.errors import ConfigError
from nat64d.config.sources import names_in, rows_in
from nat64d.control.changes import Changed, Wish
from nat64d.control.client import Client
from nat64d.control.listings import LISTINGS
from nat64d.control.openapi import JSON, JSONL
from nat64d.control.rows import WrongConfigurationError
from tests.nat64d.fake_gateway import FakeGateway, serving

FEW, MANY = 3, 200  # requests of each kind to each operation
URL = "http://nat64d"
# What an answer may be to a request as the document allows it: a cursor may be of other tables, octets no packet.
CHECKS = {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "409", "410", "429", "503"]}}


class SocketConnection(HTTPConnection):
    """A connection to the control socket of this path."""

    path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


class SocketAdapter(HTTPAdapter):
    """What takes all requests of a session to a control socket."""

    def __init__(self, path: str) -> None:
        self.pool = HTTPConnectionPool("nat64d")
        self.pool.ConnectionCls = type("Connection", (SocketConnection,), {"path": path})
        super().__init__()

    def get_connection_with_tls_context(self, *_: object, **__: object) -> HTTPConnectionPool:
        return self.pool


class Reading(FakeGateway):
    """One that reads what it is to change as the daemon does."""

    def change(self, wish: Wish) -> Changed:
        try:
            names_in(wish.unset, "unset")
            rows_in(wish.set, "set")
        except ConfigError as error:
            raise WrongConfigurationError(str(error)) from None
        return super().change(wish)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("api") / "api.sock"
    with serving(Reading(), path):
        yield str(path)


@pytest.fixture(scope="module")
def document(path) -> dict[str, Any]:
    return Client(path).document("/v1/openapi.json")


def rows_are_as_described(_, response, case) -> None:
    """Each line of JSON Lines is what the document says of one; Schemathesis reads JSON only."""
    if response.headers.get("content-type", [""])[0] != JSONL or response.status_code != 200:
        return
    name = case.operation.path.removeprefix("/v1/")
    row = next((listing.row.__name__ for listing in LISTINGS if listing.name == name), "Happening")
    schema = case.operation.schema.raw_schema["components"]["schemas"][row]
    if case.query.get("fields"):
        schema = {
            **schema,
            "required": case.query["fields"].split(",") if isinstance(case.query["fields"], str) else [],
        }
    validator = validator_for({**schema, "additionalProperties": False})
    for line in response.content.splitlines():
        if error := next(validator.iter_errors(json.loads(line)), None):
            raise Failure(operation=case.operation.label, title="Row", message=f"{line!r}: {error}")


def is_particular(operation: dict[str, Any]) -> bool:
    """Whether there is a request that the document does not allow."""
    return "parameters" in operation or JSON in operation.get("requestBody", {}).get("content", {})


def examine(document: dict[str, Any], path: str, mode: GenerationMode, examples: int) -> None:
    """Send so many requests of a kind to each operation of the document; raises what does not fit."""
    prefixes = st.ip_addresses(v=6).map(str) | st.builds("{}/{}".format, st.ip_addresses(v=6), st.integers(0, 128))
    schemathesis.openapi.format("ipv6-prefix", prefixes)
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict({"checks": CHECKS}))
    session = requests.Session()
    session.mount(URL, SocketAdapter(path))
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and not is_particular(operation.definition.raw):
            continue

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def check(case):
            case.query and case.query.pop("follow", None)  # such an answer has no end
            case.call_and_validate(base_url=URL, session=session, additional_checks=[rows_are_as_described])

        check()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_as_the_document_says(document, path, mode, caplog):
    examine(document, path, mode, FEW)
    assert "Traceback" not in caplog.text


@pytest.mark.slow
@pytest.mark.timeout(3000)  # minutes on a machine that is busy
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_as_the_document_says_at_length(document, path, mode, caplog):
    examine(document, path, mode, MANY)
    assert "Traceback" not in caplog.text
