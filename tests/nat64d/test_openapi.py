"""The OpenAPI document: what it says is what is served."""

import re

import pytest

from nat64d.control import api, openapi
from nat64d.control import rows as shapes
from nat64d.control.client import Client
from nat64d.control.listings import BY_NAME
from tests.nat64d.fake_gateway import TABLES, serving
from tests.nat64d.test_api import LISTINGS, ask
from tests.nat64d.test_cli import ROOT


@pytest.fixture
def client(gateway, path):
    with serving(gateway, path, "127.0.0.1:0"):
        yield Client(str(path))


def resolve(document, schema):
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


def test_an_explanation_is_as_openapi_says(client):
    document = client.document("/v1/openapi.json")
    answer = document["paths"]["/v1/explain"]["post"]["responses"]["200"]["content"]["application/json"]
    schema = resolve(document, answer["schema"])
    explained = client.posted("/v1/explain", b"")
    assert sorted(explained) == schema["required"]
    step = schema["properties"]["steps"]["items"]
    assert sorted(explained["steps"][0]) == step["required"]


def test_a_reload_answers_with_the_difference_as_openapi_says(client, gateway):
    reloaded = client.posted("/v1/reload", b"")
    assert reloaded == gateway.reload()
    document = client.document("/v1/openapi.json")
    (operation,) = document["paths"]["/v1/reload"].items()
    assert operation[0] == "post"
    assert "requestBody" not in operation[1]
    schema = resolve(document, operation[1]["responses"]["200"]["content"]["application/json"]["schema"])
    assert sorted(reloaded) == schema["required"]


BODIES = {"/v1/log": b'{"level": "info"}'}


def test_openapi_describes_exactly_what_is_served(client, path):
    document = client.document("/v1/openapi.json")
    assert document["openapi"].startswith("3.1.")
    operations = [(target, method.upper()) for target, item in document["paths"].items() for method in item]
    assert sorted(operations) == sorted((route.path, route.method) for route in api.ROUTES)
    for target, method in operations:
        operation = document["paths"][target][method.lower()]
        assert method == "POST" or ("requestBody" in operation) == (method in {"PUT", "PATCH"})
        query = "?all=true" if method == "DELETE" else ""
        status, content_type, _ = ask(path, target + query, method, BODIES.get(target, b"{}"))
        assert status == 200
        assert [content_type.split(";")[0]] == list(operation["responses"]["200"]["content"])
        assert ask(path, target, "PROPFIND")[0] == 405
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)


def test_openapi_says_what_has_a_version(client, path):
    versioned = set()
    for target, item in client.document("/v1/openapi.json")["paths"].items():
        for method, operation in item.items():
            headers = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "header"}
            answers = set(operation["responses"]["200"].get("headers", ()))
            assert headers == ({"If-Match"} if answers and method != "get" else set())
            if answers:
                versioned.add((method, target))
    sources = {(method, f"/v1/sources/{one}") for method in ("get", "put", "patch") for one in ("api", "kubernetes")}
    assert versioned == {("post", "/v1/changes"), *sources}


def test_the_page_of_the_api_has_every_listing_parameter_and_refusal():
    page = (ROOT / "docs/api.md").read_text()
    listed = page[page.index("## Listings") :].split("\n\n")[1]
    paths = {f"/v1/{name}" for name in LISTINGS}
    assert paths <= set(re.findall(r"`(/v1/[^`]+)`", listed))
    rows = re.findall(r"^\| (`\w+=`[^|]*) \| ([^|]+) \|", page, re.MULTILINE)
    for parameters, listings in rows:
        names = set(re.findall(r"`(\w+)=`", parameters))
        having = {name for name, listing in BY_NAME.items() if names & set(listing.filters)}
        assert listings == "all" or set(listings.split(", ")) == having, parameters
    document = openapi.document(api.ROUTES, "")
    described = document["paths"]["/v1/changes"]["post"]["responses"]["default"]["description"]
    assert set(re.findall(r"\b4\d\d\b", described)) <= set(re.findall(r"\b4\d\d\b", page[page.index("## Refusals") :]))


def test_openapi_filters_are_those_that_are_understood(client, path):
    good = {
        "proto": "tcp",
        "host": "192.0.2.1",
        "port": "53",
        "state": "TRANS",
        "cursor": f"{TABLES}-0",
        "host6": "2001:db8::/32",
        "host4": "192.0.2.1",
        "mapped4": "192.0.2.1",
        "service": "web",
        "limit": "1",
        "top": "1",
    }
    for target, item in client.document("/v1/openapi.json")["paths"].items():
        described = {parameter["name"] for parameter in item.get("get", {}).get("parameters", ())}
        if target.removeprefix("/v1/") in LISTINGS:
            assert described - {"fields"} == {
                name for name, text in good.items() if ask(path, f"{target}?{name}={text}")[0] == 200
            }


@pytest.mark.parametrize("name", LISTINGS)
def test_rows_are_as_openapi_says(client, name):
    document = client.document("/v1/openapi.json")
    answer = document["paths"][f"/v1/{name}"]["get"]["responses"]["200"]["content"]["application/jsonl"]
    schema = resolve(document, answer["schema"])
    kinds = {"string": str, "integer": int, "number": float, "boolean": bool, "null": type(None)}
    for row in client.rows(f"/v1/{name}", {}):
        assert sorted(row) == schema["required"]
        for key, value in row.items():
            described = schema["properties"][key]
            allowed = [described["type"]] if isinstance(described["type"], str) else described["type"]
            assert type(value) in [kinds[kind] for kind in allowed]
            assert value in described.get("enum", [value])


def test_schemas_of_types():
    assert openapi.schema(shapes.GatewayStatus)["properties"]["offloads"] == {
        "type": "array",
        "items": {"type": "string"},
    }
    assert openapi.schema(shapes.GatewayStatus)["properties"]["pool6"] == {"type": ["string", "null"]}
    assert openapi.schema(shapes.Counter)["properties"]["direction"] == {"type": "string", "enum": ["6to4", "4to6"]}
    assert openapi.schema(shapes.Session)["properties"]["expires_in"] == {"type": "number", "description": "seconds"}
