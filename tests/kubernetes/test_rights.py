"""The rights of config/kubernetes: the mirror and the routes of a node work with them, and use all of them."""

from pathlib import Path

import yaml

from nat64d.kubernetes.leases import APPLIED
from tests.kubernetes.controlled import Gateway, Watching
from tests.kubernetes.fake.kinds import LEASES, SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import Book, Mirrored, until, write_kubeconfig
from tests.kubernetes.objects import service, slice_

FOLDER = Path(__file__).parents[2] / "config/kubernetes"
DOCUMENTS, OF_ROUTES = (
    {one["kind"]: one for one in yaml.safe_load_all((FOLDER / name).read_text("utf-8"))}
    for name in ("gateway-rbac.yaml", "routes/routes-rbac.yaml")
)


def test_the_mirror_may_do_what_it_does_and_not_more(tmp_path):
    rules = DOCUMENTS["ClusterRole"]["rules"]
    daemon, path = Book(), tmp_path / "kubeconfig"
    with Fake() as fake:
        fake.faults.tokens = {"gateway": rules}
        fake.set(SERVICES, service())
        fake.set(SLICES, slice_("web-1", "2001:db8:1::1"))
        with Mirrored(fake, daemon, path):
            write_kubeconfig(path, fake.url, "{token: gateway}")
            until(lambda: daemon.ends() == {"[2001:db8:1::1]:8080": 1} and fake.watching == 4)
        asked = {one.partition("?")[0] for one in fake.requests}
    assert asked == {
        "GET /api/v1/services",
        "GET /apis/discovery.k8s.io/v1/endpointslices",
        "GET /apis/nat64d.io/v1alpha1/staticmappings",
        "GET /apis/nat64d.io/v1alpha1/translators",
    }
    assert [(one["resources"], one["verbs"]) for one in rules] == [
        (["services"], ["get", "list", "watch"]),
        (["endpointslices"], ["get", "list", "watch"]),
        (["staticmappings", "translators"], ["get", "list", "watch"]),
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


def test_a_gateway_and_a_node_may_see_who_is_alive(tmp_path):
    path, other = tmp_path / "kubeconfig", tmp_path / "other"
    for documents in (DOCUMENTS, OF_ROUTES):
        with Fake() as fake, Gateway(fake, other):
            until(lambda: leases(fake))
            fake.faults.tokens = {"seer": documents["Role"]["rules"], "other": DOCUMENTS["Role"]["rules"]}
            write_kubeconfig(other, fake.url, "{token: other}")
            write_kubeconfig(path, fake.url, "{token: seer}")
            with Watching(path) as watching:
                until(lambda: watching.members.alive == {"g1": ""})
    (rule,) = OF_ROUTES["Role"]["rules"]
    assert (rule["resources"], rule["verbs"]) == (["leases"], ["get", "list", "watch"])
    assert DOCUMENTS["Role"]["rules"][0]["verbs"] == [*rule["verbs"], "create", "update"]
    assert OF_ROUTES["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", **OF_ROUTES["ServiceAccount"]["metadata"]}
    ]


def leases(fake):
    return [one for key, one in fake.store.objects.items() if key.kind is LEASES]


def test_the_role_is_that_of_the_account():
    binding, account = DOCUMENTS["ClusterRoleBinding"], DOCUMENTS["ServiceAccount"]["metadata"]
    assert binding["roleRef"]["name"] == DOCUMENTS["ClusterRole"]["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account}]
