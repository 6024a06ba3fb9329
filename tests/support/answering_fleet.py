"""A fleet's control devices on one connection, in a process of its own: takes assignments, answers each.

usage: python answering_fleet.py BROKER_URL SITES PLATFORM_KEY VERIFY_EVERY
       python answering_fleet.py BROKER_URL SITES echo ANSWER_BYTES

Real edge sessions and bodies; a signature costs a site 0.1 ms, which ten thousand machines pay each for itself and
one process here would pay for all: one in VERIFY_EVERY is verified, all others are taken as signed. ``echo``
answers whatever comes with as many bytes, and reads nothing: what broker and sockets can do at best.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from urllib.parse import urlsplit

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import json

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sites.wire.edge_session import EdgeSession
from sites.wire.metrics import CONTROL_METRICS, NODE_METRICS
from sites.wire.payload import decode_payload
from sites.wire.signature import HEADER_BYTES, open_envelope

COMMANDS = "spBv1.0/+/DCMD/+/control"
NOW_MS = 1_000


def main(arguments: list[str]) -> None:
    """Connect, be born, say ``ready``, and answer until the broker goes."""
    url, count, mode, more = arguments
    parts = urlsplit(url)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"answering-{mode[:4]}")
    client.username_pw_set(parts.username or "", parts.password)
    client.max_queued_messages_set(0)
    sessions: dict[str, EdgeSession] = {}

    def be_born(*_: object) -> None:
        for number in range(1, int(count) + 1):
            site_id = f"site-{number:04d}"
            session = EdgeSession(site_id, "vpp", NODE_METRICS, {"control": CONTROL_METRICS})
            sessions[site_id] = session
            for message in session.births(NOW_MS, {}, {"control": _report("", 0)}):
                if "/control" in message.topic:
                    client.publish(message.topic, message.payload)
        print("ready", flush=True)

    seen = 0

    def answer(_client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        nonlocal seen
        session = sessions[message.topic.split("/")[3]]
        envelope = decode_payload(message.payload, max_bytes=64_000).metrics[0].value
        assert isinstance(envelope, bytes)
        seen += 1
        if seen % int(more) == 0:
            open_envelope(envelope, [bytes.fromhex(mode)])
        body = envelope[HEADER_BYTES:]
        # As an edge answers: what it refused last is told only when something was refused.
        report = dict(list(_report(hashlib.sha256(body).hexdigest(), json.loads(body)["sequence"]).items())[:3])
        told = session.device_data(NOW_MS, "control", report)
        client.publish(told.topic, told.payload)

    client.on_connect = lambda *_: client.subscribe(COMMANDS)
    if mode == "echo":
        filler = b"\0" * int(more)
        client.on_subscribe = lambda *_: print("ready", flush=True)
        client.on_message = lambda _c, _d, message: client.publish(message.topic.replace("DCMD", "DDATA"), filler)
    else:
        client.on_subscribe = be_born
        client.on_message = answer
    client.connect(str(parts.hostname), parts.port or 1883)
    client.loop_forever()


def _report(held_hash: str, sequence: int) -> dict[str, object]:
    return {
        "reported/state": "armed" if held_hash else "idle",
        "reported/hash": held_hash,
        "reported/sequence": sequence,
        "reported/refused_hash": "",
        "reported/refusal": "",
        "reported/refused_sequence": 0,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
