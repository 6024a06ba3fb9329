"""The lists that brokers get: one entry each, exact topics, nothing for anybody else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from sites.identity.brokers.texts import emqx_acl, mosquitto_acl, nats_subjects, nats_users
from sites.identity.rights import SERVICE_NAMES, LiveSite, Rights, named_rights, service_rights, site_rights
from sites.wire.topics import device_topic, group_of, node_topic, signal_topic, state_topic

SITES = [LiveSite("site-1", "a" * 32), LiveSite("site_2", "b" * 32)]
SITE_IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


def may_publish(rights: Rights, topic: str) -> bool:
    return any(topic_matches_sub(allowed, topic) for allowed in rights.publish)


def may_hear(rights: Rights, topic: str) -> bool:
    return any(topic_matches_sub(allowed, topic) for allowed in rights.subscribe)


@given(site=SITE_IDS, other=SITE_IDS)
def test_a_site_speaks_and_hears_for_itself_alone(site: str, other: str) -> None:
    rights = site_rights(site)
    for kind in ("NBIRTH", "NDATA", "NDEATH"):
        assert may_publish(rights, node_topic(kind, site))
        assert may_publish(rights, node_topic(kind, other)) is (site == other)
    assert may_publish(rights, device_topic("DDATA", site, "pv"))
    assert may_publish(rights, device_topic("DDATA", other, "pv")) is (site == other)
    assert not may_publish(rights, node_topic("NCMD", site))
    assert not may_publish(rights, device_topic("DCMD", site, "control"))
    assert not may_publish(rights, state_topic("vpp"))
    assert not may_publish(rights, "vpp/live/ingest-0")
    foreign_group = "VPP-00" if group_of(site) != "VPP-00" else "VPP-01"
    assert not may_publish(rights, f"spBv1.0/{foreign_group}/NDATA/{site}")
    assert may_hear(rights, node_topic("NCMD", site))
    assert may_hear(rights, device_topic("DCMD", other, "control")) is (site == other)
    assert may_hear(rights, state_topic("vpp"))
    assert may_hear(rights, signal_topic("regd"))
    assert not may_publish(rights, signal_topic("regd"))
    assert not may_hear(rights, node_topic("NDATA", other))


def test_each_service_may_what_it_needs_and_no_more() -> None:
    rights = service_rights("vpp")
    assert tuple(rights) == SERVICE_NAMES
    order, report = device_topic("DCMD", "site-1", "control"), device_topic("DDATA", "site-1", "control")
    assert [name for name in rights if may_publish(rights[name], order)] == ["vpp.dispatch"]
    assert [name for name in rights if may_publish(rights[name], state_topic("vpp"))] == ["vpp.host"]
    assert [name for name in rights if may_hear(rights[name], report)] == ["vpp.ingest", "vpp.dispatch"]
    assert [name for name in rights if may_hear(rights[name], device_topic("DDATA", "s", "pv"))] == ["vpp.ingest"]
    assert [name for name in rights if may_hear(rights[name], "vpp/live/ingest-0")] == ["vpp.web"]
    assert [name for name in rights if may_publish(rights[name], node_topic("NDATA", "site-1"))] == []
    assert [name for name in rights if may_publish(rights[name], signal_topic("regd"))] == ["vpp.stream"]
    assert rights["vpp.broker"] == Rights((), ())


def test_no_service_can_be_taken_for_a_site() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) is None for name in SERVICE_NAMES)


def test_mosquitto_has_a_block_for_each_service_and_patterns_for_sites() -> None:
    blocks = mosquitto_acl(service_rights("vpp"), SITES, ["site-9"]).split("\nuser ")[1:]
    assert [block.splitlines()[0] for block in blocks] == [*SERVICE_NAMES, "site-9"]
    # Who comes from where is the keeper's to hear, and nobody else's.
    assert [block.splitlines() for block in blocks if "$SYS" in block] == [
        ["vpp.broker", "topic read $SYS/broker/log/N"]
    ]
    denied, *patterns = blocks[-1].splitlines()[1:]
    assert denied == "topic deny #"
    assert len(patterns) == 10
    everybodys = ("STATE/+", "vpp/setpoint/+")
    assert all(line.startswith("pattern ") and ("%u" in line or line.endswith(everybodys)) for line in patterns)


def test_nats_has_a_user_for_each_and_no_empty_allow_list() -> None:
    text = nats_users(service_rights("vpp"), SITES, ["site-9"])
    users = re.findall(r'user: "([^"]+)"', text)
    assert users == [f"{name}.services.vpp.invalid" for name in SERVICE_NAMES] + [
        f"{site.identity}.sites.vpp.invalid" for site in SITES
    ]
    assert "allow: []" not in text
    assert text.count('{ deny: [">"] }') == 3


def test_emqx_denies_what_it_does_not_name() -> None:
    lines = emqx_acl(service_rights("vpp"), SITES, ["site-9"]).splitlines()
    assert lines[-1] == "{deny, all}."
    who = r'(all|\{username, "[A-Za-z0-9_.-]+"\})'
    rule = re.compile(rf'\{{(allow|deny), {who}, (publish|subscribe|all), \["[^"]+"(, "[^"]+")*\]\}}\.')
    assert all(rule.fullmatch(line) for line in lines[1:-1])
    assert lines[1] == '{deny, {username, "site-9"}, all, ["#"]}.'
    assert len(lines) == 1 + 1 + 9 + 2 + 1


@given(site=SITE_IDS, other=SITE_IDS)
def test_a_pattern_gives_a_site_nothing_of_another(site: str, other: str) -> None:
    named = named_rights(site)
    for kind in ("NBIRTH", "NDATA", "NDEATH"):
        assert may_publish(named, node_topic(kind, other)) is (site == other)
    assert may_publish(named, device_topic("DDATA", other, "pv")) is (site == other)
    assert not may_publish(named, device_topic("DCMD", site, "control"))
    assert may_hear(named, device_topic("DCMD", other, "control")) is (site == other)
    assert may_hear(named, signal_topic("regd"))
    assert not may_publish(named, signal_topic("regd"))


@pytest.mark.parametrize(
    ("topic", "subjects"),
    [
        ("spBv1.0/VPP-37/NDATA/site-1", ("spBv1//0.VPP-37.NDATA.site-1",)),
        ("spBv1.0/+/DCMD/site-1/+", ("spBv1//0.*.DCMD.site-1.*",)),
        ("vpp/live/#", ("vpp.live", "vpp.live.>")),
    ],
)
def test_topics_become_subjects(topic: str, subjects: tuple[str, ...]) -> None:
    assert nats_subjects(topic) == subjects
