"""The one OpenAPI description of the API, version 1: which addresses are in it, and what each may be refused with."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers

PREFIX: Final = "/api/v1/"
FROM_A_SITE: Final = frozenset({"/api/v1/enrolment/", "/api/v1/enrolment/renewals/"})
"""Asked without a session: a site's credentials are in the body."""
METHODS: Final = ("get", "post", "put", "patch", "delete")
CURSOR: Final = OpenApiParameter("cursor", str, description="position of a page, from `next` or `previous`")


class DescribedView(AutoSchema):
    """Tells of each operation what its view is for, and then what its method says; names lists as lists."""

    def get_operation_id(self) -> str:
        """Return the name: a reading whose address does not end with a parameter is of all there is."""
        name = str(super().get_operation_id())
        is_list = self.method == "GET" and not self.path.rstrip("/").endswith("}")
        return f"{name.removesuffix('_retrieve')}_list" if is_list and name.endswith("_retrieve") else name

    def get_description(self) -> str:  # type: ignore[override]  # drf-spectacular's own form
        """Return both docstrings, the view's first."""
        texts = (self.view.__doc__, getattr(self.view, self.method.lower()).__doc__)
        return " ".join(" ".join(text.split()) for text in texts if text)


def paged(row: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """Return the serializer of one page of rows by cursor."""
    return inline_serializer(
        name=f"{row.__name__.removesuffix('Serializer')}Page",
        fields={
            "next": serializers.URLField(allow_null=True),
            "previous": serializers.URLField(allow_null=True),
            "results": row(many=True),
        },
    )


def only_version_1(endpoints: list[Any], **_: Any) -> list[Any]:
    """Keep what this document is about; OpenADR's VTN serves its own (``/openadr3/…/openapi.json``)."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(PREFIX)]


def with_refusals(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add to each operation the refusals that the framework gives by itself, and which view or role gives."""
    result["components"].setdefault("schemas", {})["Refusal"] = {
        "type": "object",
        "description": "Why a request is refused: ``detail`` in words, or each bad field with what is accepted.",
        "properties": {
            "detail": {"type": "string"},
            "error": {"type": "string", "description": "The refusal's name, where it has one."},
        },
        "additionalProperties": True,
    }
    for address, operations in result["paths"].items():
        for method in METHODS:
            operation = operations.get(method)
            if operation is not None:
                for status, why in _refusals(address, operation).items():
                    operation["responses"].setdefault(status, _refusal(why))
    return result


def _refusals(address: str, operation: dict[str, Any]) -> dict[str, str]:
    parameters = operation.get("parameters", ())
    refusals = {"403": "Not signed in, or not for this role."}
    if any(row["in"] == "path" or row["name"] == "cursor" for row in parameters):
        refusals["404"] = "Not known, or not among what one may see."
    if any(row["in"] == "query" for row in parameters) or "requestBody" in operation:
        refusals["400"] = "A parameter or the body is not what is accepted."
    if address.startswith(f"{PREFIX}market/") and set(refusals) & {"400"}:
        refusals["409"] = "Understood, and not possible as things stand."
    if "requestBody" in operation or address in FROM_A_SITE:
        refusals |= {"413": "The body is too large.", "415": "The body is no JSON."}
    return refusals


def _refusal(why: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Refusal"}
    return {"description": why, "content": {"application/json": {"schema": schema}}}


@lru_cache(maxsize=1)
def description() -> dict[str, Any]:
    """Return the whole description; made once for each process, since the code alone decides it."""
    # Imported here: it imports every view.
    from drf_spectacular.generators import SchemaGenerator

    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return found
