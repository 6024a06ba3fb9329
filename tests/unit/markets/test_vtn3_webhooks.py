"""Where webhooks may go: judged after the name was resolved, and called at the judged address."""

import socket
import threading

import pytest
from support.vtn3 import a_receiver

from markets.openadr.addresses import AddressRefused
from markets.openadr.vtn3 import webhooks
from markets.openadr.vtn3.webhooks import CallFailed, judge, place_of

REFUSED = [
    "127.0.0.1",
    "127.9.9.9", "::1", "169.254.169.254", "10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0",  # noqa: S104 - refused
    "255.255.255.255", "224.0.0.1", "fe80::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::",
    "ff02::1",
    "198.18.0.1", "203.0.113.1", "2001:db8::1", "::",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address):
    with pytest.raises(AddressRefused, match="no public address"):
        judge(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700:4700::1111"])
def test_a_public_address_is_taken(address):
    assert str(judge(address)) == address


def test_one_bad_address_of_a_name_refuses_it():
    with pytest.raises(AddressRefused):
        place_of("https://ven.example.org/x", lambda host, port: ["93.184.215.14", "10.0.0.1"])


def test_a_name_that_changes_after_it_was_judged_changes_nothing(settings):
    """DNS rebinding: the first answer is judged and called; the second, the metadata service, is never asked for."""
    settings.VTN_WEBHOOK_NETWORKS = ["127.0.0.1/32"]
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    with a_receiver() as receiver:
        url = f"http://ven.example.org:{receiver.port}/hook"
        webhooks.call(url, body='{"a": 1}', bearer="t", resolver=lambda host, port: next(answers))
        assert (receiver.received, receiver.bearers) == ([{"a": 1}], ["Bearer t"])
        with pytest.raises(AddressRefused):
            webhooks.call(url, body="{}", resolver=lambda host, port: next(answers))
        assert len(receiver.received) == 1


def test_a_redirect_is_not_followed(settings):
    settings.VTN_WEBHOOK_NETWORKS = ["127.0.0.1/32"]
    with a_receiver() as inner, a_receiver() as outer:
        outer.redirects_to = inner.url
        with pytest.raises(CallFailed, match="307"):
            webhooks.call(outer.url, body="{}")
        assert inner.received == []


def test_http_without_tls_stays_within_the_named_networks(settings):
    settings.VTN_WEBHOOK_NETWORKS = ["127.0.0.1/32"]
    with pytest.raises(AddressRefused, match="https"):
        place_of("http://ven.example.org/x", lambda host, port: ["93.184.215.14"])


def test_who_answers_a_byte_now_and_then_is_cut_off(settings, monkeypatch):
    settings.VTN_WEBHOOK_NETWORKS = ["127.0.0.1/32"]
    monkeypatch.setattr(webhooks, "ANSWER_WITHIN_S", 0.5)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not ended.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        with pytest.raises(CallFailed):
            webhooks.call(f"http://127.0.0.1:{server.getsockname()[1]}/", body="{}")
        ended.set()
        thread.join(5.0)


def test_a_name_that_cannot_be_asked_for_fails_and_is_no_fault_of_ours():
    with pytest.raises(CallFailed, match="not resolved"):
        webhooks.resolve("a" * 70 + ".invalid", 443)
