"""paho's client with writes in large pieces: paho writes the socket once for each message."""

from __future__ import annotations

from typing import Final

import paho.mqtt.client as paho

PIECE_BYTES: Final = 65_536
"""Messages are joined up to about so many bytes: what one write of the socket takes."""
MAX_PAYLOAD_BYTES: Final = 268_000_000
_PUBLISH: Final = 0x30
_RETAIN: Final = 0x01
_NO_PACKET_ID: Final = 0


class PieceClient(paho.Client):
    """A client that joins messages at QoS 0, which nobody answers, into pieces of many messages.

    A message for itself costs paho an object with a lock, a call that says it left, and a write of the socket; a
    fleet is armed by ten thousand at once (docs/benchmarks.md, "Dispatch"). Order is kept among all packets.
    """

    def publish_at_qos_0(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Queue a message; False without a socket. Raises ValueError for a topic or payload that MQTT does not take."""
        if self._sock is None:
            return False
        name = topic.encode()
        if not name:
            raise ValueError("topic is empty")
        self._raise_for_invalid_topic(name)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"payload has {len(payload)} bytes, accepted: up to {MAX_PAYLOAD_BYTES}")
        packet = bytearray((_PUBLISH | _RETAIN if retain else _PUBLISH,))
        length = 2 + len(name) + len(payload)
        while length > 0x7F:
            packet.append(length & 0x7F | 0x80)
            length >>= 7
        packet.append(length)
        packet += len(name).to_bytes(2, "big")
        packet += name
        packet += payload
        last = self._out_packet[-1] if self._out_packet else None
        if (
            last is not None
            and last["mid"] == _NO_PACKET_ID
            and last["command"] == _PUBLISH
            and last["pos"] == 0
            and last["to_process"] < PIECE_BYTES
        ):
            # Not begun yet: what the socket has taken a part of must not grow.
            last["packet"] += packet
            last["to_process"] += len(packet)
            return True
        self._out_packet.append(
            {
                "command": _PUBLISH,
                "mid": _NO_PACKET_ID,
                "qos": 0,
                "pos": 0,
                "to_process": len(packet),
                "packet": packet,
                "info": paho.MQTTMessageInfo(_NO_PACKET_ID),
            }
        )
        self._call_socket_register_write()
        return True
