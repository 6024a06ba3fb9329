"""The API's page: every address with its parameters, fields and answers, from the served OpenAPI and nothing else."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from vpp.console.roles import ALL_ROLES, page_for
from vpp.openapi import METHODS, PREFIX, description

MAX_DEPTH: Final = 3
"""Of fields within fields on the page; the description itself has all of them."""


@page_for(ALL_ROLES)
def api_docs(request: HttpRequest) -> HttpResponseBase:
    """Every operation by subject."""
    groups = operation_groups(description())
    context = {"nav": "api", "groups": groups, "count": sum(len(rows) for _, rows in groups)}
    return render(request, "console/api_docs.html", context)


def operation_groups(document: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the operations by the first word of their address, as a template needs them."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for address, operations in sorted(document["paths"].items()):
        for method in METHODS:
            if method in operations:
                subject = address.removeprefix(PREFIX).split("/")[0]
                groups.setdefault(subject, []).append(_operation(document, address, method, operations[method]))
    return sorted(groups.items())


def _operation(document: dict[str, Any], address: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "address": address,
        "text": operation.get("description", ""),
        "parameters": [
            {
                "name": row["name"],
                "place": row["in"],
                "type": _type(document, row["schema"]),
                "is_required": row.get("required", False),
                "text": row.get("description", ""),
            }
            for row in operation.get("parameters", ())
        ],
        "body": [] if body is None else _fields(document, body),
        "answers": [
            {
                "status": status,
                "text": answer.get("description", ""),
                "fields": _fields(document, _schema_of(answer)) if status.startswith("2") else [],
            }
            for status, answer in sorted(operation["responses"].items())
        ],
    }


def _schema_of(answer: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for part in schema.get("allOf", ())[:1]:
        schema = {**_resolved(document, part), **{name: value for name, value in schema.items() if name != "allOf"}}
    if "$ref" in schema:
        found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def _type(document: dict[str, Any], schema: dict[str, Any]) -> str:
    found = _resolved(document, schema)
    if "enum" in found:
        return " | ".join(str(value) for value in found["enum"])
    if found.get("type") == "array":
        return f"list of {_type(document, found.get('items', {}))}"
    name = str(found.get("format") or found.get("type") or "any")
    return f"{name} or null" if found.get("nullable") else name


def _fields(document: dict[str, Any], schema: dict[str, Any], prefix: str = "", depth: int = 0) -> list[dict[str, str]]:
    found = _resolved(document, schema)
    if found.get("type") == "array":
        return _fields(document, found.get("items", {}), prefix if prefix else f"{prefix}[].", depth)
    rows = []
    for name, part in found.get("properties", {}).items():
        rows.append(
            {
                "name": f"{prefix}{name}",
                "type": _type(document, part),
                "text": part.get("description", "") or _resolved(document, part).get("description", ""),
            }
        )
        inner = _resolved(document, part)
        is_list = inner.get("type") == "array"
        items = _resolved(document, inner.get("items", {})) if is_list else inner
        if depth + 1 < MAX_DEPTH and items.get("properties"):
            rows += _fields(document, items, f"{prefix}{name}{'[]' if is_list else ''}.", depth + 1)
    return rows
