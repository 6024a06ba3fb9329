"""paho's client with reads in large pieces: paho asks the socket for every packet's first bytes one by one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from paho.mqtt.enums import MQTTErrorCode

from sites.mqtt.writing import PieceClient

CHUNK_BYTES: Final = 131_072
_PUBLISH_QOS_0: Final = (0x30, 0x31)
"""PUBLISH without a packet id: not retained, retained."""
_LONGEST_LENGTH: Final = 4


class ChunkClient(PieceClient):
    """A client whose ``loop_read`` takes all that the socket holds.

    Messages at QoS 0 need no answer and no state, so they are read here and handed to ``on_publish_0(topic,
    payload)``; every other packet is handed to paho whole. One read of the socket serves many messages, which
    makes receiving some ten times cheaper than paho's own loop (docs/benchmarks.md, "Ingest").
    """

    on_publish_0: Callable[[bytes, bytes], None]
    _held: list[bytes]
    """Pieces of a packet that has not come whole yet, joined once when it has."""
    read_fault: str = ""
    """Why the socket could not be read, when that ended the connection."""
    _missing: int = 0
    """Bytes that the held packet lacks at least."""
    _packet_bytes: bytes | None = None
    """What paho may read now; None: it reads the socket."""

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read the socket once and handle every whole packet; ``max_packets`` is not a bound here."""
        sock = self._sock
        if sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        try:
            data = super()._sock_recv(CHUNK_BYTES)
            # TLS hands out one record at a time and keeps the next where no selector sees it.
            pending = getattr(sock, "pending", None)
            while pending is not None and data and (waiting := pending()):
                data += super()._sock_recv(waiting)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError as error:
            data, self.read_fault = b"", str(error)[:200]
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
            # Whatever comes shows that the broker lives: the answer to a ping may stand behind seconds of messages.
            self._ping_t = 0.0
        if not self._missing:
            return self._handle(data)
        self._held.append(data)
        self._missing = max(0, self._missing - len(data))
        return MQTTErrorCode.MQTT_ERR_SUCCESS if self._missing else self._handle(b"".join(self._held))

    def reconnect(self) -> MQTTErrorCode:
        """Connect anew; what was left of the former connection's bytes goes."""
        self._held, self._missing, self._packet_bytes, self.read_fault = [], 0, None, ""
        return super().reconnect()

    def _handle(self, data: bytes) -> MQTTErrorCode:
        start, end, missing = 0, len(data), 0
        self._missing = 0
        while start < end:
            length, shift, body = 0, 0, start + 1
            while body < end and body - start <= _LONGEST_LENGTH:
                byte = data[body]
                body += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            else:
                if body - start > _LONGEST_LENGTH:
                    return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
                missing = 1
                break
            after = body + length
            if after > end:
                missing = after - end
                break
            if data[start] in _PUBLISH_QOS_0:
                payload_at = body + 2 + (data[body] << 8 | data[body + 1]) if length >= 2 else after + 1
                if payload_at > after:
                    return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
                self.on_publish_0(data[body + 2 : payload_at], data[payload_at:after])
            else:
                status = self._give(data[start:after])
                if status != MQTTErrorCode.MQTT_ERR_SUCCESS or self._sock is None:
                    return status
            start = after
        self._held, self._missing = [data[start:]], missing
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _give(self, packet: bytes) -> MQTTErrorCode:
        """Let paho handle one whole packet."""
        self._packet_bytes = packet
        try:
            return super().loop_read()
        finally:
            self._packet_bytes = None

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._packet_bytes is None:
            return super()._sock_recv(bufsize)
        if not self._packet_bytes:
            raise BlockingIOError
        part, self._packet_bytes = self._packet_bytes[:bufsize], self._packet_bytes[bufsize:]
        return part
