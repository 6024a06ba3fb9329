"""Whatever comes to a control device goes back with so many bytes, unread: what broker and sockets can do at best.

usage: python echoing_fleet.py BROKER_URL ANSWER_BYTES
"""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


def main(arguments: list[str]) -> None:
    """Connect, say ``ready``, and echo until the broker goes."""
    url, size = arguments
    parts = urlsplit(url)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="echoing")
    client.username_pw_set(parts.username or "", parts.password)
    client.max_queued_messages_set(0)
    filler = b"\0" * int(size)
    client.on_connect = lambda *_: client.subscribe("spBv1.0/+/DCMD/+/control")
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = lambda _c, _d, message: client.publish(message.topic.replace("DCMD", "DDATA"), filler)
    client.connect(str(parts.hostname), parts.port or 1883)
    client.loop_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
