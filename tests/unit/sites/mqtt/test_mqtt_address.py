"""Addresses with certificates are taken whole or refused without showing a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from sites.mqtt.address import BrokerAddress, BrokerAddressError, TlsFiles


def test_certificates_are_named_in_the_address() -> None:
    address = BrokerAddress.parse("mqtts://broker.example?ca=/a/ca.pem&cert=/a/own.pem&key=/a/own.key")
    assert (address.host, address.port) == ("broker.example", 8883)
    assert address.tls == TlsFiles(Path("/a/ca.pem"), Path("/a/own.pem"), Path("/a/own.key"))
    assert not address.asks_certificate


def test_an_address_without_credentials_asks_for_a_certificate() -> None:
    assert BrokerAddress.parse("mqtts://broker.example").asks_certificate
    assert not BrokerAddress.parse("mqtts://user:secret@broker.example").asks_certificate
    assert not BrokerAddress.parse("mqtt://broker.example").asks_certificate


def test_a_cluster_has_several_nodes_and_one_password() -> None:
    address = BrokerAddress.parse("mqtt://u:secret@a:1884?also=b&also=[::1]:1885")
    assert address.nodes == (("a", 1884), ("b", 1883), ("::1", 1885))
    secured = BrokerAddress.parse("mqtts://a?ca=/ca.pem&also=b:1&also=c")
    assert secured.nodes == (("a", 8883), ("b", 1), ("c", 8883))
    assert secured.tls == TlsFiles(Path("/ca.pem"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mqtt://u:secret@h?ca=/a", "names certificates without TLS"),
        ("mqtts://u:secret@h?key=/a", "names a key without its certificate"),
        ("mqtts://u:secret@h?ca=/a&ca=/b", "once each"),
        ("mqtts://u:secret@h?ca=", "once each"),
        ("mqtts://u:secret@h?verify=no", "options that are not accepted"),
        ("mqtts://u:secret@h/path", "goes on after its port"),
        ("wss://u:secret@h", "scheme 'wss'"),
        ("mqtt://u:secret@h?also=", "another node that is none"),
        ("mqtt://u:secret@h?also=b:0", "another node that is none"),
        ("mqtt://u:secret@h?also=b:x", "another node that is none"),
        ("mqtt://u:secret@h?also=v:secret@b", "another node that is none"),
        ("mqtt://u:secret@h?also=b/path", "another node that is none"),
        ("mqtt://u:secret@h?" + "&also=b" * 16, "names 17 nodes"),
    ],
)
def test_a_wrong_address_is_told_without_its_password(url: str, message: str) -> None:
    with pytest.raises(BrokerAddressError, match=message) as caught:
        BrokerAddress.parse(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        ("mqtt://broker.example", True),
        ("mqtt://10.0.0.1", True),
        ("mqtt://localhost:1884", False),
        ("mqtt://127.0.0.9", False),
        ("mqtt://[::1]", False),
        ("mqtt://127.0.0.1?also=10.0.0.1", True),
        ("mqtts://broker.example", False),
    ],
)
def test_plain_mqtt_beyond_this_machine_is_accepted_only_for_a_trial(url: str, is_open: bool) -> None:
    address = BrokerAddress.parse(url)
    assert address.is_open is is_open
    address.require_closed(open_allowed=True)
    if is_open:
        with pytest.raises(BrokerAddressError, match="accepted: mqtts://"):
            address.require_closed(open_allowed=False)
    else:
        address.require_closed(open_allowed=False)
