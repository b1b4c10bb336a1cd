"""config/kubernetes/gateway-rbac.yaml: the mirror works with it, and uses all of it."""

from pathlib import Path

import yaml

from nat64d.kubernetes.leases import APPLIED
from tests.kubernetes.controlled import Gateway
from tests.kubernetes.fake.kinds import LEASES, SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import Book, Mirrored, until, write_kubeconfig
from tests.kubernetes.objects import service, slice_

MANIFEST = Path(__file__).parents[2] / "config/kubernetes/gateway-rbac.yaml"
DOCUMENTS = {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text("utf-8"))}


def test_the_mirror_may_do_what_it_does_and_not_more(tmp_path):
    rules = DOCUMENTS["ClusterRole"]["rules"]
    daemon, path = Book(), tmp_path / "kubeconfig"
    with Fake() as fake:
        fake.faults.tokens = {"gateway": rules}
        fake.set(SERVICES, service())
        fake.set(SLICES, slice_("web-1", "2001:db8:1::1"))
        with Mirrored(fake, daemon, path):
            write_kubeconfig(path, fake.url, "{token: gateway}")
            until(lambda: daemon.ends() == {"[2001:db8:1::1]:8080": 1} and fake.watching == 3)
        asked = {one.partition("?")[0] for one in fake.requests}
    assert asked == {
        "GET /api/v1/services",
        "GET /apis/discovery.k8s.io/v1/endpointslices",
        "GET /apis/nat64d.io/v1alpha1/staticmappings",
    }
    assert [(one["resources"], one["verbs"]) for one in rules] == [
        (["services"], ["get", "list", "watch"]),
        (["endpointslices"], ["get", "list", "watch"]),
        (["staticmappings"], ["get", "list", "watch"]),
    ]


def test_a_gateway_may_keep_its_lease(tmp_path):
    path = tmp_path / "kubeconfig"
    with Fake() as fake:
        fake.faults.tokens = {"gateway": DOCUMENTS["Role"]["rules"]}
        gateway = Gateway(fake, path)
        write_kubeconfig(path, fake.url, "{token: gateway}")
        with gateway:
            until(lambda: any(key.kind is LEASES for key in fake.store.objects))
            gateway.apply(7)
            until(lambda: [one["metadata"]["annotations"][APPLIED] for one in leases(fake)] == ["7"])
        assert [one["spec"]["holderIdentity"] for one in leases(fake)] == [""]
    assert DOCUMENTS["RoleBinding"]["subjects"] == DOCUMENTS["ClusterRoleBinding"]["subjects"]


def leases(fake):
    return [one for key, one in fake.store.objects.items() if key.kind is LEASES]


def test_the_role_is_that_of_the_account():
    binding, account = DOCUMENTS["ClusterRoleBinding"], DOCUMENTS["ServiceAccount"]["metadata"]
    assert binding["roleRef"]["name"] == DOCUMENTS["ClusterRole"]["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account}]
