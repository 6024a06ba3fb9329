"""The access lists of Mosquitto, NATS and EMQX as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sites.identity.authority import identity_name, service_name
from sites.identity.brokers.sessions import LOG_TOPIC
from sites.identity.rights import KEEPER, LiveSite, Rights, named_rights, site_rights

HEADER: Final = "Written by `manage.py keep_broker` from the registry; a change by hand is written over."


def mosquitto_acl(services: Mapping[str, Rights], sites: Iterable[LiveSite], shut_out: Iterable[str]) -> str:
    """Return the ``acl_file``; the user's name is the certificate's CN.

    Sites come under patterns of their name: Mosquitto looks through all users for each line that it reads, so that
    10,000 entries would stop it for many seconds at each reload. Who holds no certificate does not get in at all;
    revoked sites are denied by name, for the moments in which their sessions are still open.
    """
    lines = [f"# {HEADER}"]
    for user, rights in services.items():
        lines.append(f"user {user}")
        lines += [f"topic write {topic}" for topic in rights.publish]
        # Mosquitto's own notices: from where a site's sessions come stands in no other place.
        heard = (*rights.subscribe, LOG_TOPIC) if user == KEEPER else rights.subscribe
        lines += [f"topic read {topic}" for topic in heard]
    for user in shut_out:
        lines += [f"user {user}", "topic deny #"]
    named = named_rights("%u")
    lines += [f"pattern write {topic}" for topic in named.publish]
    lines += [f"pattern read {topic}" for topic in named.subscribe]
    return "\n".join(lines) + "\n"


def nats_users(services: Mapping[str, Rights], sites: Iterable[LiveSite], shut_out: Iterable[str]) -> str:
    """Return the ``users`` of an ``authorization`` block; the user's name is the certificate's alternative name.

    Who is shut out is not in the list, which ends an open session too.
    """
    users = [_nats_user(service_name(name), rights) for name, rights in services.items()]
    users += [_nats_user(identity_name(site.identity), site_rights(site.site_id)) for site in sites]
    return "\n".join([f"# {HEADER}", "users: [", *users, "]"]) + "\n"


def emqx_acl(services: Mapping[str, Rights], sites: Iterable[LiveSite], shut_out: Iterable[str]) -> str:
    """Return the file of EMQX's ``file`` authorization source; the user's name is the certificate's CN.

    It is read from the top for each question, so that sites come under patterns of their name.
    """
    lines = [f"%% {HEADER}"]
    lines += [f'{{deny, {{username, "{user}"}}, all, ["#"]}}.' for user in shut_out]
    for user, rights in services.items():
        lines += _emqx_rules(f'{{username, "{user}"}}', rights)
    return "\n".join([*lines, *_emqx_rules("all", named_rights("${username}")), "{deny, all}."]) + "\n"


def nats_subjects(topic: str) -> tuple[str, ...]:
    """Return the NATS subjects of an MQTT filter; one that ends in ``/#`` also asks for its parent level."""
    if topic.endswith("/#"):
        parent = nats_subjects(topic[:-2])[0]
        return parent, f"{parent}.>"
    return (".".join("*" if level == "+" else level.replace(".", "//") for level in topic.split("/")),)


def _emqx_rules(who: str, rights: Rights) -> list[str]:
    rules = []
    for action, topics in (("publish", rights.publish), ("subscribe", rights.subscribe)):
        if topics:
            listed = ", ".join(f'"{topic}"' for topic in topics)
            rules.append(f"{{allow, {who}, {action}, [{listed}]}}.")
    return rules


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
