"""config/kubernetes/: what an API server takes, with no more rights than needed, and configurations that are right."""

import re
import shutil
import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from nat64d.config.load import loads
from nat64d.config.sources import rows_in
from nat64d.kubernetes.addresses import Pool, contradictions
from nat64d.kubernetes.resources import KINDS, definitions

FOLDER = Path(__file__).parents[2] / "config/kubernetes"
FILES = sorted(one for one in FOLDER.rglob("*.yaml") if one.name != "kustomization.yaml")
KUSTOMIZED = sorted(one.parent for one in FOLDER.rglob("kustomization.yaml"))
CRDS = FOLDER / "crds.yaml"
ADDED = {
    "nat64d": {"NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"},
    "routes": {"NET_ADMIN"},
}  # by container; others have none


def documents(path: Path) -> list[Any]:
    return [*yaml.safe_load_all(path.read_text("utf-8"))]


ALL = [(path.name, one) for path in FILES for one in documents(path)]
PODS = [(name, one["spec"]["template"]["spec"]) for name, one in ALL if "template" in one.get("spec", {})]


def test_the_definitions_are_those_of_the_models() -> None:
    """Write them anew: python -m tests.kubernetes.test_manifests"""
    assert documents(CRDS) == definitions()


@pytest.mark.parametrize(("name", "given"), ALL, ids=[f"{name}-{one['kind']}" for name, one in ALL])
def test_an_api_server_takes_it_and_knows_every_key(name: str, given: Any) -> None:
    kubernetes_validate.validate(given, kubernetes_validate.latest_version(), strict=True)


def test_validation_finds_an_unknown_key() -> None:
    given = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "date": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(given, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("folder", KUSTOMIZED, ids=lambda one: one.name)
def test_every_file_of_a_folder_is_a_resource_of_its_kustomization(folder: Path) -> None:
    (given,) = documents(folder / "kustomization.yaml")
    others = {one.name for one in folder.glob("*.yaml")} - {"kustomization.yaml", "coredns.yaml"}
    assert set(given["resources"]) == others


@pytest.mark.parametrize("folder", KUSTOMIZED, ids=lambda one: one.name)
def test_kubectl_builds_it(folder: Path) -> None:
    if not (kubectl := shutil.which("kubectl")):
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, timeout=60)
    assert len([*yaml.safe_load_all(done.stdout)]) > 1


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_no_container_may_do_more_than_it_must(name: str, pod: Any) -> None:
    for one in (*pod.get("initContainers", ()), *pod["containers"]):
        may = one["securityContext"]
        assert not may.get("privileged")
        assert not may["allowPrivilegeEscalation"]
        assert may["readOnlyRootFilesystem"]
        assert may["capabilities"]["drop"] == ["ALL"]
        assert set(may["capabilities"].get("add", ())) <= ADDED.get(one["name"], set()), one["name"]


CONFIGS = [(name, one["data"]["nat64d.toml"]) for name, one in ALL if "nat64d.toml" in one.get("data", {})]


@pytest.mark.parametrize(("name", "text"), CONFIGS, ids=[name for name, _ in CONFIGS])
def test_the_configuration_of_a_daemon_is_right(name: str, text: str) -> None:
    loads(text, name)


def test_the_objects_of_the_documentation_are_right() -> None:
    text = (FOLDER.parents[1] / "docs/kubernetes.md").read_text("utf-8")
    given = [one for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) for one in yaml.safe_load_all(block)]
    for one in given:
        KINDS[one["kind"]][0].model_validate(one["spec"])
    racks, database, pool = given
    assert contradictions([Pool("public", ("", ""), tuple(pool["spec"]["blocks"]))], []) == {}
    assert rows_in({"eam": [racks["spec"]]}, "racks").eam[0].ipv6.prefixlen == 120
    assert IPv4Network(database["spec"]["ipv4"]).prefixlen == 32


def test_every_kind_has_a_definition_with_a_status_of_its_own() -> None:
    assert [one["spec"]["names"]["kind"] for one in definitions()] == [*KINDS]
    for one in definitions():
        (version,) = one["spec"]["versions"]
        assert version["subresources"] == {"status": {}}


def test_definitions_are_structural() -> None:
    """What an API server refuses: references, titles, unbounded lists and texts with a rule of their own."""

    def look(node: Any, at: str) -> None:
        if isinstance(node, list):
            for one in node:
                look(one, at)
        if not isinstance(node, dict):
            return
        assert not {"$ref", "$defs", "anyOf", "additionalProperties"} & node.keys(), at
        if "x-kubernetes-validations" in node and node["type"] == "string":
            assert "maxLength" in node, at
        if node.get("type") == "array" and "x-kubernetes-validations" in str(node["items"]):
            assert "maxItems" in node, at
        for key, one in node.items():
            look(one, f"{at}.{key}")

    for one in definitions():
        look(one["spec"]["versions"][0]["schema"], one["metadata"]["name"])


if __name__ == "__main__":
    CRDS.write_text(yaml.safe_dump_all(definitions(), sort_keys=False, width=110), "utf-8")
