"""The access lists of Mosquitto, NATS and EMQX as text: one entry for each service and each live site. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from sites.identity.authority import identity_name, service_name
from sites.identity.queries import LiveSite
from sites.identity.rights import Rights, site_rights

HEADER: Final = "Written by `manage.py keep_broker` from the registry; a change by hand is written over."


def mosquitto_acl(services: Mapping[str, Rights], sites: Iterable[LiveSite]) -> str:
    """Return the ``acl_file``; the user's name is the certificate's CN."""
    lines = [f"# {HEADER}"]
    for user, rights in _by_common_name(services, sites):
        lines.append(f"user {user}")
        lines += [f"topic write {topic}" for topic in rights.publish]
        lines += [f"topic read {topic}" for topic in rights.subscribe]
    return "\n".join(lines) + "\n"


def nats_users(services: Mapping[str, Rights], sites: Iterable[LiveSite]) -> str:
    """Return the ``users`` of an ``authorization`` block; the user's name is the certificate's alternative name."""
    users = [_nats_user(service_name(name), rights) for name, rights in services.items()]
    users += [_nats_user(identity_name(site.identity), site_rights(site.site_id)) for site in sites]
    return "\n".join([f"# {HEADER}", "users: [", *users, "]"]) + "\n"


def emqx_acl(services: Mapping[str, Rights], sites: Iterable[LiveSite]) -> str:
    """Return the file of EMQX's ``file`` authorization source; the user's name is the certificate's CN."""
    lines = [f"%% {HEADER}"]
    for user, rights in _by_common_name(services, sites):
        for action, topics in (("publish", rights.publish), ("subscribe", rights.subscribe)):
            if topics:
                listed = ", ".join(f'"{topic}"' for topic in topics)
                lines.append(f'{{allow, {{username, "{user}"}}, {action}, [{listed}]}}.')
    return "\n".join([*lines, "{deny, all}."]) + "\n"


def nats_subjects(topic: str) -> tuple[str, ...]:
    """Return the NATS subjects of an MQTT filter; one that ends in ``/#`` also asks for its parent level."""
    if topic.endswith("/#"):
        parent = nats_subjects(topic[:-2])[0]
        return parent, f"{parent}.>"
    return (".".join("*" if level == "+" else level.replace(".", "//") for level in topic.split("/")),)


def _by_common_name(services: Mapping[str, Rights], sites: Iterable[LiveSite]) -> Iterator[tuple[str, Rights]]:
    yield from services.items()
    for site in sites:
        yield site.site_id, site_rights(site.site_id)


def _nats_user(user: str, rights: Rights) -> str:
    publish, subscribe = _nats_rule(rights.publish), _nats_rule(rights.subscribe)
    return (
        f'  {{ user: "{user}", allowed_connection_types: ["MQTT"], '
        f"permissions: {{ publish: {publish}, subscribe: {subscribe} }} }}"
    )


def _nats_rule(topics: Iterable[str]) -> str:
    listed = ", ".join(f'"{subject}"' for topic in topics for subject in nats_subjects(topic))
    # An empty allow list would allow everything.
    return f"{{ allow: [{listed}] }}" if listed else '{ deny: [">"] }'
