"""Create, update, patch, apply and delete, with what the server fills in and refuses."""

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.kubernetes.fake import patching, rules
from tests.kubernetes.fake.answers import RefusedError, answer
from tests.kubernetes.fake.kinds import SERVICES
from tests.kubernetes.fake.reads import named
from tests.kubernetes.fake.store import AbsentError, ConflictError, Object

if TYPE_CHECKING:
    from tests.kubernetes.fake.server import Fake, Place

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
EXTERNAL = '299 - "spec.externalIPs is deprecated and will not be supported in a future release"'


async def created(fake: "Fake", request: web.Request, place: "Place") -> web.Response:
    given = _body(await request.read(), place)
    about = given.setdefault("metadata", {})
    if "name" not in about and "generateName" in about:
        about["name"] = f"{about['generateName']}{fake.store.version:05x}"
    given.pop("status", None) if place.kind.has_status else None
    about.pop("creationTimestamp", None)
    wrong(place, rules_of(place, given, None))
    try:
        done = fake.store.create(place.key(about.get("name", "")), _without_type(given))
    except ConflictError as error:
        raise RefusedError(409, "AlreadyExists", str(error)) from None
    return answer(named(place.kind, done), 201, _warnings(place, given))


async def replaced(fake: "Fake", request: web.Request, place: "Place") -> web.Response:
    given = _body(await request.read(), place)
    return _write(fake, place, given, given.get("metadata", {}).get("resourceVersion"))


async def patched(fake: "Fake", request: web.Request, place: "Place") -> web.Response:
    form = request.headers.get("Content-Type", "").partition(";")[0]
    patch = _body(await request.read(), place)
    version = patch.get("metadata", {}).get("resourceVersion")
    if form == APPLY:
        return _apply(fake, request, place, patch)
    try:
        before = fake.store.find(place.key())
    except AbsentError as error:
        raise RefusedError(404, "NotFound", str(error)) from None
    if form == STRATEGIC and not place.kind.schema:
        return _write(fake, place, patching.strategic(before, patch), version)
    if form == MERGE:
        return _write(fake, place, patching.merge(before, patch), version)
    raise RefusedError(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {form}")


async def removed(fake: "Fake", _: web.Request, place: "Place") -> web.Response:
    try:
        done = fake.store.remove(place.key())
    except AbsentError as error:
        raise RefusedError(404, "NotFound", str(error)) from None
    for key in [key for key in fake.owners if key[0] == place.key()]:
        del fake.owners[key]
    return answer(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": done["metadata"]}
    )


def _apply(fake: "Fake", request: web.Request, place: "Place", given: Object) -> web.Response:
    manager = request.query.get("fieldManager", "")
    if not manager:
        raise RefusedError(422, "Invalid", "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value")
    force = request.query.get("force") == "true"
    about = given.setdefault("metadata", {})
    about.setdefault("name", place.name)
    version = about.pop("resourceVersion", None)
    try:
        before: Object | None = fake.store.find(place.key())
    except AbsentError as error:
        if place.subresource:
            raise RefusedError(404, "NotFound", str(error)) from None
        before = None
    wanted = {key: value for key, value in _without_type(given).items() if key != "metadata"}
    wanted = {k: v for k, v in wanted.items() if (k == "status") == bool(place.subresource)}
    if meta := {key: about[key] for key in ("labels", "annotations") if key in about}:
        wanted["metadata"] = meta
    place_ = (place.key(), place.subresource)
    try:
        base = before or {"metadata": {"name": place.name}}
        after, owners = patching.applied(base, wanted, manager, fake.owners.get(place_, {}), force)
    except patching.ApplyConflictError as error:
        raise RefusedError(409, "Conflict", str(error)) from None
    if before is None:
        wrong(place, rules_of(place, after, None))
        done = answer(named(place.kind, fake.store.create(place.key(), after)), 201)
    else:
        done = _write(fake, place, after, version)
    fake.owners[place_] = owners
    return done


def _write(fake: "Fake", place: "Place", given: Object, version: str | None) -> web.Response:
    """Store another state: of the status alone where the path names it, else of all but that."""
    with fake.store.lock:
        try:
            before = fake.store.find(place.key())
            after = _without_type(deepcopy(given))
            if place.subresource:
                after = {**deepcopy(before), "status": after.get("status", {})}
                wrong(place, rules.status_filled_in(place.kind, after))
            else:
                if place.kind.has_status:
                    after["status"] = deepcopy(before.get("status", {}))
                after.setdefault("metadata", {}).setdefault("name", place.name)
                wrong(place, rules_of(place, after, before))
            return answer(
                named(place.kind, fake.store.replace(place.key(), after, version)), 200, _warnings(place, after)
            )
        except AbsentError as error:
            raise RefusedError(404, "NotFound", str(error)) from None
        except ConflictError as error:
            raise RefusedError(409, "Conflict", str(error)) from None


def rules_of(place: "Place", given: Object, before: Object | None) -> list[str]:
    try:
        return rules.filled_in(place.kind, given, before)
    except rules.UnreadableError as error:
        raise RefusedError(
            400, "BadRequest", f"{place.kind.name} in version {place.kind.version!r} cannot be handled: {error}"
        ) from None


def wrong(place: "Place", found: list[str]) -> None:
    """Raises RefusedError if there is anything."""
    if found:
        causes = [{"reason": "FieldValueInvalid", "field": one.partition(":")[0], "message": one} for one in found]
        message = f'{place.kind.name} "{place.name}" is invalid: {found[0] if len(found) == 1 else found}'
        raise RefusedError(422, "Invalid", message, details={"causes": causes})


def _warnings(place: "Place", given: Object) -> dict[str, str]:
    return {"Warning": EXTERNAL} if place.kind is SERVICES and given["spec"].get("externalIPs") else {}


def _body(text: bytes, place: "Place") -> Object:
    try:
        given = json.loads(text)  # JSON is YAML, and nat64d sends JSON
    except ValueError:
        raise RefusedError(400, "BadRequest", "the body of the request is no JSON") from None
    kind = given.get("kind", place.kind.name) if isinstance(given, dict) else None
    if kind != place.kind.name:
        raise RefusedError(400, "BadRequest", f"{kind} does not match the expected kind {place.kind.name}")
    return given


def _without_type(given: Object) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in ("kind", "apiVersion")}
