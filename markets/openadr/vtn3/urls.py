"""The VTN's addresses: one set for each version, from the table of kinds, each with its place in the OpenAPI."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, re_path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings

from markets.openadr.vtn3 import documents
from markets.openadr.vtn3.kinds import KINDS, RESOURCE, Kind, Version
from markets.openadr.vtn3.problems import PREFIX
from markets.openadr.vtn3.views import (
    AuthServer,
    Collection,
    Notifiers,
    Single,
    Token,
    Topics,
    VtnView,
    no_such_address,
)

TOPIC_PATHS = (
    "programs",
    "programs/{programID}",
    "programs/{programID}/events",
    "events",
    "reports",
    "subscriptions",
    "vens",
    "vens/{venID}",
    "vens/{venID}/events",
    "vens/{venID}/programs",
    "vens/{venID}/resources",
    "resources",
)


def _view(base: type[VtnView], describe: Any, **members: Any) -> Any:
    name = "".join([base.__name__, *(str(value).title() for value in members.values() if isinstance(value, str))])
    made = type(name, (base,), {**members, "__doc__": base.__doc__})
    return describe(made).as_view()


def _addresses(version: Version) -> list[URLPattern]:
    found = []
    for kind in KINDS:
        is_nested = version is Version.V301 and kind is RESOURCE
        root = f"vens/<str:venID>/{kind.plural}" if is_nested else kind.plural
        for base, address in ((Collection, root), (Single, f"{root}/<str:object_id>")):
            view = _view(base, documents.describe_objects(version, kind, base is Single), version=version, kind=kind)
            found.append(_path(version, address, view, kind))
    token = _view(Token, documents.describe_token(version), version=version)
    found.append(_path(version, "auth/token", token))
    server = _view(AuthServer, documents.describe_auth_server(version), version=version)
    found.append(_path(version, "auth/server", server))
    if version is Version.V310:
        notifiers = _view(Notifiers, documents.describe_notifiers(), version=version)
        found.append(_path(version, "notifiers", notifiers))
        for topic_path in TOPIC_PATHS:
            view = _view(Topics, documents.describe_topics(topic_path), version=version, path=topic_path)
            address = topic_path.replace("{", "<str:").replace("}", ">")
            found.append(_path(version, f"notifiers/mqtt/topics/{address}", view))
    return found


def _path(version: Version, address: str, view: Any, kind: Kind | None = None) -> URLPattern:
    # Measured under one name for each kind, not one for each object.
    name = f"openadr3-{version}-{kind.plural}" if kind else f"openadr3-{version}-{address.split('/<')[0]}"
    found: URLPattern = path(f"{PREFIX[1:]}{version}/{address}", view, name=name)
    return found


objects = {version: _addresses(version) for version in Version}


@cache
def _document_text(version: Version) -> bytes:
    # Made once: it costs a fraction of a second, and whoever asks need not be known.
    with patched_settings(documents.settings_of(version)):
        generator: Any = SchemaGenerator
        document = generator(patterns=objects[version]).get_schema(request=None, public=True)
        return json.dumps(document).encode()


def _document(request: HttpRequest, version: Version) -> HttpResponse:
    """Return the version's OpenAPI."""
    return HttpResponse(_document_text(version), content_type="application/json")


urlpatterns = [
    *objects[Version.V301],
    *objects[Version.V310],
    *(
        path(f"{PREFIX[1:]}{version}/openapi.json", _document, {"version": version}, name=f"openadr3-{version}-openapi")
        for version in Version
    ),
    re_path(rf"^{PREFIX[1:]}(?P<rest>.*)$", no_such_address),
]
