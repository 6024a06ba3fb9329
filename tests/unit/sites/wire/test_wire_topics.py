from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.wire.errors import TopicInvalid
from sites.wire.topics import (
    DEVICE_KINDS,
    NODE_KINDS,
    device_topic,
    group_of,
    node_topic,
    parse_topic,
    partition_filters,
    partition_of,
    state_topic,
)

IDS = st.text("abcXYZ0189_-", min_size=1, max_size=64)


@given(IDS, IDS, st.sampled_from(NODE_KINDS), st.sampled_from(DEVICE_KINDS))
def test_a_topic_reads_back_as_it_was_written(site: str, device: str, node_kind: str, device_kind: str) -> None:
    assert parse_topic(node_topic(node_kind, site)) == (group_of(site), node_kind, site, None, None)
    assert parse_topic(device_topic(device_kind, site, device)) == (group_of(site), device_kind, site, device, None)
    assert parse_topic(state_topic(site)) == ("", "STATE", "", None, site)


@given(st.text(max_size=60))
def test_any_text_is_a_topic_or_refused_by_name(text: str) -> None:
    with contextlib.suppress(TopicInvalid):
        parse_topic(text)


@given(IDS)
def test_the_partition_is_crc32_modulo_64(site: str) -> None:
    assert partition_of(site) == zlib.crc32(site.encode()) % 64
    assert group_of(site) == f"VPP-{partition_of(site):02d}"


def test_one_site_worked_by_hand() -> None:
    # crc32("site-1") = 0x73e3af25; its last six bits are 100101 = 37.
    assert zlib.crc32(b"site-1") & 63 == partition_of("site-1") == 37
    assert node_topic("NDATA", "site-1") == "spBv1.0/VPP-37/NDATA/site-1"


@pytest.mark.parametrize(
    "topic",
    [
        "spBv1.0/VPP-00/NDATA/site-1",
        "spBv1.0/VPP-37/DDATA/site-1",
        "spBv1.0/VPP-37/NDATA/site-1/battery",
        "spBv1.0/VPP-37/NDATA/site 1",
        "spBv1.0/VPP-37/NDATA/site-1\n",
        "spBv1.0/VPP-37/NOPE/site-1",
        "spAv1.0/VPP-37/NDATA/site-1",
        "spBv1.0/VPP-37/NDATA/+",
        "spBv1.0/STATE",
        "spBv1.0/STATE/a/b/c/d",
        "x" * 300,
        "",
    ],
)
def test_topics_outside_the_contract(topic: str) -> None:
    with pytest.raises(TopicInvalid, match="accepted"):
        parse_topic(topic)


def test_all_partitions_need_six_filters_without_commands() -> None:
    filters = partition_filters(range(64))
    assert len(filters) == 6
    assert not any("CMD" in text for text in filters)


def test_some_partitions_are_named_each() -> None:
    filters = partition_filters([7, 3, 7])
    assert len(filters) == 12
    assert "spBv1.0/VPP-07/DDATA/+/+" in filters
    with pytest.raises(TopicInvalid, match="0 to 63"):
        partition_filters([64])
