"""A way between sites and broker on which some messages are lost: MQTT packets passed on but for those drawn by lot."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from support.brokers import Broker

CONNECT = 1
PUBLISH = 3


class LossyRelay:
    """Takes connections like the broker, and drops a share of what that publishes under a topic at QoS 0."""

    def __init__(self, broker: Broker, *, topic: str, share: float, seed: int) -> None:
        self._broker = broker
        self._topic = topic.encode()
        self._share = share
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.passed: dict[str, list[tuple[float, bytes]]] = defaultdict(list)
        """Client -> (when [s since the epoch], payload) of what got through under the topic."""
        self.dropped = 0
        """Messages under the topic that did not, over all connections."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def edge_url(self) -> str:
        """Address for the edge's user, through here."""
        port = self._listener.getsockname()[1]
        return f"mqtt://{self._broker.edge_user}:{self._broker.edge_password}@127.0.0.1:{port}"

    def stop(self) -> None:
        """End all connections."""
        for each in (self._listener, *self._sockets):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                site, _ = self._listener.accept()
            except OSError:
                return
            broker = socket.create_connection(("127.0.0.1", self._broker.port))
            self._sockets += [site, broker]
            client: list[str] = []
            threading.Thread(target=self._pass_on, args=(site, broker, client), daemon=True).start()
            threading.Thread(target=self._pass_packets, args=(broker, site, client), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, client: list[str]) -> None:
        try:
            for packet, _ in _packets(source):
                if packet[0] >> 4 == CONNECT:
                    client.append(_client_id(packet))
                target.sendall(packet)
        except OSError:
            pass
        finally:
            _end(source, target)

    def _pass_packets(self, source: socket.socket, target: socket.socket, client: list[str]) -> None:
        try:
            for packet, topic in _packets(source):
                if topic is None or not topic.startswith(self._topic):
                    target.sendall(packet)
                    continue
                with self._lock:
                    is_lost = self._random.random() < self._share
                    self.dropped += is_lost
                if not is_lost:
                    at = packet.index(topic) + len(topic)
                    self.passed[client[0]].append((time.time(), packet[at:]))
                    target.sendall(packet)
        except OSError:
            pass
        finally:
            _end(source, target)


def _packets(source: socket.socket) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield each MQTT packet, and its topic where it is a PUBLISH at QoS 0."""
    buffer = bytearray()
    while data := source.recv(65_536):
        buffer += data
        while (head := _head(buffer)) is not None:
            first, length = head
            if len(buffer) < first + length:
                break
            packet = bytes(buffer[: first + length])
            del buffer[: first + length]
            topic = None
            if packet[0] >> 4 == PUBLISH and not packet[0] & 0b110:
                size = int.from_bytes(packet[first : first + 2], "big")
                topic = packet[first + 2 : first + 2 + size]
            yield packet, topic


def _client_id(packet: bytes) -> str:
    """Return who a CONNECT is from; raise OSError where it is none that was read whole."""
    first, _ = _head(bytearray(packet)) or (0, 0)
    # Protocol's name, level, flags, keep-alive; then the client's own name.
    at = first + 2 + int.from_bytes(packet[first : first + 2], "big") + 4
    size = int.from_bytes(packet[at : at + 2], "big")
    return packet[at + 2 : at + 2 + size].decode()


def _head(buffer: bytearray) -> tuple[int, int] | None:
    """Return (length of the fixed header, remaining length), or None while it is not all there."""
    length = 0
    for place in range(1, 5):
        if len(buffer) <= place:
            return None
        length |= (buffer[place] & 0x7F) << 7 * (place - 1)
        if not buffer[place] & 0x80:
            return place + 1, length
    raise OSError("no MQTT packet")


def _end(*both: socket.socket) -> None:
    for each in both:
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


@contextmanager
def lossy_relay(broker: Broker, *, topic: str, share: float, seed: int) -> Iterator[LossyRelay]:
    """Yield a relay for as long as the block lasts."""
    relay = LossyRelay(broker, topic=topic, share=share, seed=seed)
    try:
        yield relay
    finally:
        relay.stop()
