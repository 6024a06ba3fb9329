"""What the served OpenAPI says of each address, from the same tables and schemas that the addresses keep to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view

from markets.openadr.vtn3.kinds import RESOURCE, SCOPES, Kind, Version, scopes_needed
from markets.openadr.vtn3.parameters import parameters_of
from markets.openadr.vtn3.schemas import COMPONENTS, OBJECT_ID, ref

Describe = Callable[[Any], Any]
OAUTH = "oAuth2ClientCredentials"
JSON = "application/json"
PROBLEMS = {
    304: "the client has it already",
    400: "what was sent is not accepted",
    401: "no token that is in force",
    403: "the token's scope, or the client's role, does not allow it",
    404: "no such object, or none that the client may see",
    409: "in conflict with what is held",
    413: "the body is too large",
    415: "the body's type is not accepted",
}


def _responses(good: dict[int, dict[str, Any]], *others: int) -> dict[Any, Any]:
    found: dict[Any, Any] = {(status, JSON): OpenApiResponse(schema, "done") for status, schema in good.items()}
    for status in others:
        if status == 304:
            found[status] = OpenApiResponse(description=PROBLEMS[status])
        else:
            found[status, "application/problem+json"] = OpenApiResponse(ref("problem"), PROBLEMS[status])
    return found


def _security(*scopes: str) -> list[dict[str, list[str]]]:
    return [{OAUTH: [scope]} for scope in scopes]


def _parameter(name: str, schema: dict[str, Any], where: Literal["query", "path"]) -> OpenApiParameter:
    return OpenApiParameter(name, schema, where, required=where == "path")


def describe_objects(version: Version, kind: Kind, is_single: bool) -> Describe:
    """Return what tells the addresses of a kind, or of one of its objects."""
    answer, request = ref(kind.name.lower()), {JSON: ref(f"{kind.name.lower()}Request")}
    read = _security(*scopes_needed(version, kind, writes=False))
    write = _security(kind.write_scope)
    in_path = []
    if version is Version.V301 and kind is RESOURCE:
        in_path.append(_parameter("venID", OBJECT_ID, "path"))
    if is_single:
        in_path.append(_parameter("object_id", OBJECT_ID, "path"))
        return extend_schema_view(
            get=extend_schema(
                operation_id=f"get_{kind.name.lower()}",
                parameters=in_path,
                responses=_responses({200: answer}, 304, 400, 401, 403, 404),
                extensions={"x-security": read},
            ),
            put=extend_schema(
                operation_id=f"update_{kind.name.lower()}",
                parameters=in_path,
                request=request,
                responses=_responses({200: answer}, 400, 401, 403, 404, 409, 413, 415),
                extensions={"x-security": write},
            ),
            delete=extend_schema(
                operation_id=f"delete_{kind.name.lower()}",
                parameters=in_path,
                responses=_responses({200: answer}, 400, 401, 403, 404, 409),
                extensions={"x-security": write},
            ),
        )
    in_query = [_parameter(name, held, "query") for name, held in parameters_of(version, kind).items()]
    return extend_schema_view(
        get=extend_schema(
            operation_id=f"list_{kind.plural}",
            parameters=[*in_path, *in_query],
            responses=_responses({200: {"type": "array", "items": answer}}, 304, 400, 401, 403, 404),
            extensions={"x-security": read},
        ),
        post=extend_schema(
            operation_id=f"create_{kind.name.lower()}",
            parameters=in_path,
            request=request,
            responses=_responses({201: answer}, 400, 401, 403, 404, 409, 413, 415),
            extensions={"x-security": write},
        ),
    )


def describe_token(version: Version) -> Describe:
    """Return what tells the token endpoint."""
    text = {"type": "string", "minLength": 1, "maxLength": 4_096}
    form = {
        "type": "object",
        "properties": {
            "grant_type": {"type": "string", "enum": ["client_credentials"]},
            "client_id": text,
            "client_secret": text,
            "scope": {"type": "string", "maxLength": 4_096},
        },
        "required": ["grant_type", "client_id", "client_secret"],
    }
    responses = _responses({200: ref("clientCredentialResponse")}, 403, 413, 415)
    responses[400, JSON] = OpenApiResponse(ref("authError"), "the form is not accepted")
    responses[401, JSON] = OpenApiResponse(ref("authError"), "no such client, or not its secret")
    return extend_schema_view(
        post=extend_schema(
            operation_id="fetch_token",
            request={"application/x-www-form-urlencoded": form},
            responses=responses,
            extensions={"x-security": []},
        )
    )


def describe_auth_server(version: Version) -> Describe:
    """Return what tells where tokens are had."""
    return extend_schema_view(
        get=extend_schema(
            operation_id="get_auth_server",
            responses=_responses({200: ref("authServerInfo")}, 403),
            extensions={"x-security": []},
        )
    )


def describe_notifiers() -> Describe:
    """Return what tells the VTN's ways to notify."""
    return extend_schema_view(
        get=extend_schema(
            operation_id="list_notifiers",
            responses=_responses({200: ref("notifiersResponse")}, 401, 403),
            extensions={"x-security": _security("read_all", "read_targets")},
        )
    )


def describe_topics(path: str) -> Describe:
    """Return what tells one address of topics."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    scopes = ("read_all", "read_ven_objects") if path.startswith("vens/{") else ("read_all",)
    return extend_schema_view(
        get=extend_schema(
            operation_id="list_topics_" + path.replace("/", "_").replace("{", "").replace("}", ""),
            parameters=[_parameter(name, OBJECT_ID, "path") for name in names],
            responses=_responses({200: ref("notifierTopicsResponse")}, 400, 401, 403, 404),
            extensions={"x-security": _security(*scopes)},
        )
    )


def settings_of(version: Version) -> dict[str, Any]:
    """Return drf-spectacular's settings of a version's document."""
    return {
        "TITLE": f"Open VPP: OpenADR {version} VTN",
        "VERSION": str(version),
        "OAS_VERSION": "3.1.0",
        "POSTPROCESSING_HOOKS": ["markets.openadr.vtn3.documents.complete"],
        "PREPROCESSING_HOOKS": [],
        "SCHEMA_PATH_PREFIX": f"/openadr3/{version}",
        "ENABLE_DJANGO_DEPLOY_CHECK": False,
    }


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add components and scopes to what drf-spectacular has made of the addresses, and name objects as the protocol."""
    version = Version(result["info"]["version"])
    scheme = {"tokenUrl": f"/openadr3/{version}/auth/token", "scopes": dict(SCOPES)}
    result["components"] = {
        "schemas": dict(COMPONENTS[version]),
        "securitySchemes": {
            OAUTH: {"type": "oauth2", "flows": {"clientCredentials": scheme}},
        },
    }
    paths: dict[str, Any] = {}
    for address, item in result["paths"].items():
        kinds = [word for word in address.split("/") if word and not word.startswith("{")]
        name = f"{kinds[-1].removesuffix('s')}ID"
        for operation in item.values():
            operation["security"] = operation.pop("x-security")
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "object_id":
                    parameter["name"] = name
        paths[address.replace("{object_id}", f"{{{name}}}")] = item
    result["paths"] = paths
    return result
