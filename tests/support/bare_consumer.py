"""A bare paho consumer in its own process: subscribes, counts, and tells when the first and the last message came."""

from __future__ import annotations

import json
import sys
import time
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


def main(url: str, expected: int) -> None:
    """Count messages until as many came, or nothing for 10 s."""
    parts = urlsplit(url)
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client.username_pw_set(parts.username or "", parts.password)
    count, first_s, last_s = 0, 0.0, time.perf_counter()

    def heard(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        nonlocal count, first_s, last_s
        last_s = time.perf_counter()
        first_s = first_s or last_s
        count += len(message.payload) > 0
        if count >= expected:
            client.disconnect()

    client.on_connect = lambda *_: client.subscribe([("spBv1.0/+/NDATA/+", 0)])
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = heard
    client.connect(str(parts.hostname), parts.port or 1883)
    cpu_s = time.process_time()
    while client.loop(timeout=1.0) == paho.MQTT_ERR_SUCCESS and count < expected:
        if count and time.perf_counter() - last_s > 10.0:
            break
    cpu_s = time.process_time() - cpu_s
    print(json.dumps({"count": count, "wall_s": last_s - first_s, "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
