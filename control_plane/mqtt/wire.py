"""A small MQTT client for services: 3.1.1 and 5, QoS 0 and 1, over TLS, with acknowledgements under our control.

Why not a library: at the rates of ``ingest`` a general client costs more than the rest of the pipeline together. What
is not here: QoS 2, topic aliases, last wills of services beyond one, reconnecting (its users do that).

``PacketReader`` takes bytes and gives packets; ``WireClient`` is the socket around it. Receiving belongs to one thread;
``publish`` and ``acknowledge`` may be called from others.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

LARGEST_PACKET: Final = 256 * 1024
_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGRESP, _DISCONNECT = 2, 3, 4, 9, 13, 14
_RECEIVE_BYTES: Final = 256 * 1024
_PINGREQ: Final = b"\xc0\x00"


class WireError(Exception):
    """The peer does not follow MQTT, or is gone. The connection is of no use any more."""


class Refused(WireError):
    """The broker answered and said no. ``code`` is its return or reason code."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"the broker refused the {what} with code {code}")
        self.code = code


class Message(NamedTuple):
    """A PUBLISH that came in. ``packet_id`` is 0 for QoS 0."""

    topic: str
    payload: bytes
    packet_id: int
    retained: bool
    duplicate: bool


class Packet(NamedTuple):
    """Any other packet: its type, and its body without the fixed header."""

    kind: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when this connection ends without goodbye."""

    topic: str
    payload: bytes


class PacketReader:
    """Bytes in, packets out. Raises WireError for anything that a broker may not send to a client like this."""

    def __init__(self, level: int = 4) -> None:
        self._level = level
        #: The beginning of a packet that is not complete.
        self._rest = b""
        #: Topics repeat: decoded once each.
        self._topics: dict[bytes, str] = {}

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Message | Packet]:
        """What is complete now."""
        data = self._rest + bytes(chunk)
        found: list[Message | Packet] = []
        at, end = 0, len(data)
        while end - at >= 2:
            length = data[at + 1]
            start = at + 2
            if length > 127:
                sized = _length(data, at + 1, end)
                if sized is None:
                    break
                length, start = sized
            stop = start + length
            if stop > end:
                break
            first = data[at]
            if first & 0xF0 == 0x30:
                found.append(self._message(first, data, start, stop))
            else:
                found.append(_other(first, data[start:stop]))
            at = stop
        self._rest = data[at:]
        return found

    def _message(self, first: int, data: bytes, at: int, stop: int) -> Message:
        qos = first >> 1 & 3
        if qos > 1:
            raise WireError(f"a message of QoS {qos}, which was not asked for")
        body = at + 2
        if body > stop:
            raise WireError("a message without a topic")
        name_end = body + (data[at] << 8 | data[at + 1])
        if name_end + 2 * qos > stop:
            raise WireError("a message that ends within its header")
        name = data[body:name_end]
        topic = self._topics.get(name) or self._learn(name)
        packet_id = 0
        if qos:
            packet_id = data[name_end] << 8 | data[name_end + 1]
            if packet_id == 0:
                raise WireError("a message of QoS 1 without a packet id")
            name_end += 2
        if self._level == 5:
            name_end = _skip_properties(data, name_end, stop)
        return Message(topic, data[name_end:stop], packet_id, first & 1 == 1, first & 8 == 8)

    def _learn(self, name: bytes) -> str:
        try:
            topic = name.decode()
        except UnicodeDecodeError:
            raise WireError("a topic that is not UTF-8") from None
        if not topic or "\0" in topic or "+" in topic or "#" in topic:
            raise WireError("a topic with characters that no topic has")
        if len(self._topics) > 50_000:
            self._topics.clear()
        self._topics[name] = topic
        return topic


def _length(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """A length of more than one byte and where it ends; None when it is not complete."""
    length = shift = 0
    for index in range(at, min(at + 4, end)):
        byte = data[index]
        length |= (byte & 0x7F) << shift
        if byte < 128:
            if length > LARGEST_PACKET:
                raise WireError(f"a packet of {length} bytes")
            return length, index + 1
        shift += 7
    if end - at >= 4:
        raise WireError("a packet length of more than four bytes")
    return None


def _skip_properties(data: bytes, at: int, stop: int) -> int:
    length = shift = 0
    for index in range(at, min(at + 4, stop)):
        length |= (data[index] & 0x7F) << shift
        if data[index] < 128:
            if index + 1 + length > stop:
                raise WireError("properties that go beyond their packet")
            return index + 1 + length
        shift += 7
    raise WireError("properties without a length")


def _other(first: int, body: bytes) -> Packet:
    kind = first >> 4
    if kind not in (_CONNACK, _PUBACK, _SUBACK, _PINGRESP, _DISCONNECT) or first & 0x0F:
        raise WireError(f"a packet that begins with {first:#04x}")
    shortest = 2 if kind in (_CONNACK, _PUBACK, _SUBACK) else 0
    if len(body) < shortest:
        raise WireError(f"a packet of kind {kind} that ends early")
    return Packet(kind, body)


def encode_length(length: int) -> bytes:
    """The remaining length of a packet, 1 to 4 bytes."""
    encoded = bytearray()
    while True:
        length, byte = length >> 7, length & 0x7F
        encoded.append(byte | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def encode_text(value: str | bytes) -> bytes:
    """Two bytes of length, then UTF-8."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def encode_packet(first: int, body: bytes) -> bytes:
    """A whole packet: fixed header and body."""
    return bytes([first]) + encode_length(len(body)) + body


def encode_publish(
    topic: str,
    payload: bytes,
    *,
    packet_id: int = 0,
    retain: bool = False,
    duplicate: bool = False,
    level: int = 4,
) -> bytes:
    """A PUBLISH: QoS 1 with a packet id, QoS 0 without."""
    first = 0x30 | duplicate << 3 | (packet_id > 0) << 1 | retain
    head = encode_text(topic) + (struct.pack(">H", packet_id) if packet_id else b"")
    return encode_packet(first, head + (b"\0" if level == 5 else b"") + payload)


def encode_connect(
    client_id: str,
    *,
    level: int,
    clean: bool,
    keepalive_s: int,
    receive_maximum: int,
    will: Will | None,
) -> bytes:
    """A CONNECT without name and password: the certificate says who we are."""
    flags = (2 if clean else 0) | (0x2C if will else 0)
    body = encode_text("MQTT") + struct.pack(">BBH", level, flags, keepalive_s)
    if level == 5:
        # Session expiry of a day, and how many messages may be under way.
        body += (
            b"\x08\x11" + struct.pack(">I", 86_400) + b"\x21" + struct.pack(">H", receive_maximum)
        )
    body += encode_text(client_id)
    if will:
        body += (b"\0" if level == 5 else b"") + encode_text(will.topic) + encode_text(will.payload)
    return encode_packet(0x10, body)


class WireClient:
    """One connection to a broker. Every failure is a WireError; afterwards only ``close`` makes sense."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        level: int = 4,
        clean: bool = True,
        keepalive_s: int = 30,
        receive_maximum: int = 2000,
        will: Will | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self.level = level
        self.session_present = False
        self._reader = PacketReader(level)
        self._write_lock = threading.Lock()
        self._inbox: list[Message] = []
        self._suback: dict[int, bytes] = {}
        self._next_id = 0
        self._unacked = 0
        self._keepalive_s = keepalive_s
        self._last_sent = self._last_heard = time.monotonic()
        self._ping_sent_at: float | None = None
        self._timeout_s = timeout_s
        try:
            self._line = _connect(host, port, tls, server_name or host, timeout_s)
        except OSError as error:
            raise WireError(f"no connection to {host}:{port}: {error}") from error
        try:
            self._send(
                encode_connect(
                    client_id,
                    level=level,
                    clean=clean,
                    keepalive_s=keepalive_s,
                    receive_maximum=receive_maximum,
                    will=will,
                )
            )
            answer = self._await(_CONNACK, timeout_s)
        except BaseException:
            self._line.socket.close()
            raise
        if answer[1]:
            self._line.socket.close()
            raise Refused("connection", answer[1])
        self.session_present = bool(answer[0] & 1)

    @property
    def socket(self) -> socket.socket:
        """The socket, to look at its options."""
        return self._line.socket

    def subscribe(self, filters: Iterable[tuple[str, int]]) -> list[int]:
        """Subscribe and wait for the answer: one code for each filter, 128 and more means refused."""
        asked = list(filters)
        packet_id = self._packet_id()
        body = struct.pack(">H", packet_id) + (b"\0" if self.level == 5 else b"")
        body += b"".join(encode_text(name) + bytes([qos]) for name, qos in asked)
        self._send(encode_packet(0x82, body))
        deadline = time.monotonic() + self._timeout_s
        while packet_id not in self._suback:
            self._pump(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline and packet_id not in self._suback:
                raise WireError("the broker did not answer a subscription")
        codes = self._suback.pop(packet_id)
        if self.level == 5:
            codes = codes[_skip_properties(codes, 0, len(codes)) :]
        return list(codes)

    def receive(self, timeout_s: float, *, most: int = 100_000) -> list[Message]:
        """Messages that have arrived, as soon as there is one; at most about ``most``; empty when none came in time.

        Also answers for the keep-alive, so it must be called more often than that.
        """
        self._keep_alive()
        if not self._inbox:
            self._pump(timeout_s)
        while len(self._inbox) < most and self._pump(0):
            pass
        messages, self._inbox = self._inbox, []
        return messages

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> int:
        """Send a message; the packet id for QoS 1, else 0. Its PUBACK is counted, not waited for."""
        packet_id = self._packet_id() if qos else 0
        self._unacked += qos
        self._send(
            encode_publish(topic, payload, packet_id=packet_id, retain=retain, level=self.level)
        )
        return packet_id

    def publish_many(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Send messages of QoS 0 in one piece."""
        packets = [encode_publish(topic, payload, level=self.level) for topic, payload in messages]
        if packets:
            self._send(b"".join(packets))

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """PUBACK these, in this order."""
        ids = [message.packet_id for message in messages if message.packet_id]
        if ids:
            self._send(b"".join(b"\x40\x02" + struct.pack(">H", packet_id) for packet_id in ids))

    def settle(self, timeout_s: float = 5.0) -> None:
        """Wait until the broker has acknowledged everything that was published at QoS 1."""
        deadline = time.monotonic() + timeout_s
        while self._unacked > 0:
            if time.monotonic() >= deadline:
                raise WireError("the broker did not acknowledge a message")
            self._pump(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Say goodbye, if that is still possible, and close. Can be called twice."""
        with contextlib.suppress(WireError, ValueError):
            self._send(b"\xe0\x00")
        self._line.socket.close()

    def abandon(self) -> None:
        """Close without goodbye: the broker publishes the will."""
        self._line.socket.close()

    def _packet_id(self) -> int:
        self._next_id = self._next_id % 65_535 + 1
        return self._next_id

    def _await(self, kind: int, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise WireError("the broker did not answer")
            for packet in self._read(left):
                if isinstance(packet, Packet) and packet.kind == kind:
                    return packet.body
                self._take(packet)

    def _pump(self, timeout_s: float) -> bool:
        packets = self._read(timeout_s)
        for packet in packets:
            if type(packet) is Message:
                self._inbox.append(packet)
            else:
                self._take(packet)
        return bool(packets)

    def _take(self, packet: Message | Packet) -> None:
        if isinstance(packet, Message):
            self._inbox.append(packet)
        elif packet.kind == _PUBACK:
            self._unacked = max(0, self._unacked - 1)
        elif packet.kind == _SUBACK:
            self._suback[packet.body[0] << 8 | packet.body[1]] = packet.body[2:]
        elif packet.kind == _PINGRESP:
            self._ping_sent_at = None
        elif packet.kind == _DISCONNECT:
            raise Refused("connection's further life", packet.body[0] if packet.body else 0)

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if self._ping_sent_at is not None and now - self._ping_sent_at > self._keepalive_s / 2:
            raise WireError("the broker does not answer any more")
        if self._ping_sent_at is None and now - self._last_sent > self._keepalive_s / 2:
            self._ping_sent_at = now
            self._send(_PINGREQ)

    def _read(self, timeout_s: float) -> list[Message | Packet]:
        """Packets that are complete after the next bytes; waits for bytes at most so long."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                received = self._line.receive()
            except (OSError, ValueError) as error:
                raise WireError(f"the connection broke: {error}") from error
            if received is None:
                left = deadline - time.monotonic()
                if left <= 0 or not _wait(self._line.socket, select.POLLIN, left):
                    return []
                continue
            if not received:
                raise WireError("the broker closed the connection")
            packets = self._reader.feed(received)
            if packets or time.monotonic() >= deadline:
                return packets

    def _send(self, packet: bytes) -> None:
        with self._write_lock:
            deadline = time.monotonic() + self._timeout_s
            try:
                rest = memoryview(self._line.seal(packet))
                while rest:
                    try:
                        rest = rest[self._line.socket.send(rest) :]
                    except BlockingIOError:
                        left = deadline - time.monotonic()
                        if not _wait(self._line.socket, select.POLLOUT, left):
                            raise WireError("the broker takes nothing more") from None
            except (OSError, ValueError) as error:
                raise WireError(f"the connection broke: {error}") from error
            self._last_sent = time.monotonic()


class _PlainLine:
    """A socket without TLS, that does not block."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = bytearray(_RECEIVE_BYTES)
        sock.setblocking(False)

    def receive(self) -> memoryview | None:
        """What has arrived, good until the next call; empty at the end, None when nothing is there."""
        try:
            count = self.socket.recv_into(self._buffer)
        except BlockingIOError:
            return None
        return memoryview(self._buffer)[:count]

    def seal(self, packet: bytes) -> bytes:
        """The bytes to send for these."""
        return packet


class _TlsLine:
    """TLS over a socket that does not block, with our own buffers on both sides.

    Python's TLS sockets ask the system twice for each record, and mosquitto makes a record of each message: reading
    what is there in one go and decrypting from memory halves the cost of a message.
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, server_name: str, timeout_s: float
    ) -> None:
        self.socket = sock
        self._sealed = bytearray(_RECEIVE_BYTES)
        self._opened = bytearray(2 * _RECEIVE_BYTES)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        # Two threads may use a connection, but OpenSSL lets only one into it.
        self._lock = threading.Lock()
        sock.settimeout(timeout_s)
        self._shake_hands(time.monotonic() + timeout_s)
        sock.setblocking(False)

    def receive(self) -> memoryview | None:
        """What has arrived, decrypted, good until the next call; empty at the end, None when nothing is there."""
        is_over = False
        try:
            count = self.socket.recv_into(self._sealed)
            is_over = count == 0
        except BlockingIOError:
            count = 0
        with self._lock:
            if count:
                self._incoming.write(memoryview(self._sealed)[:count])
            elif is_over:
                self._incoming.write_eof()
            length = self._open()
        if length:
            return memoryview(self._opened)[:length]
        return memoryview(b"") if is_over else None

    def seal(self, packet: bytes) -> bytes:
        """The bytes to send for these, and whatever TLS has to say besides."""
        with self._lock:
            self._tls.write(packet)
            return self._outgoing.read()

    def _open(self) -> int:
        """Decrypt what is there; how many bytes there are now."""
        room, at = memoryview(self._opened), 0
        try:
            while at < len(room):
                count = int(self._tls.read(len(room) - at, room[at:]))
                if not count:
                    break
                at += count
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        return at

    def _shake_hands(self, deadline: float) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.socket.sendall(self._outgoing.read())
                if time.monotonic() > deadline:
                    raise TimeoutError("no TLS handshake in time") from None
                count = self.socket.recv_into(self._sealed)
                if count == 0:
                    raise ConnectionResetError("closed during the TLS handshake") from None
                self._incoming.write(memoryview(self._sealed)[:count])
            except ssl.SSLError:
                # Tell the other side why, before we go.
                with contextlib.suppress(OSError):
                    self.socket.sendall(self._outgoing.read())
                raise
            else:
                self.socket.sendall(self._outgoing.read())
                return


def _connect(
    host: str, port: int, tls: ssl.SSLContext | None, server_name: str, timeout_s: float
) -> _PlainLine | _TlsLine:
    sock = socket.create_connection((host, port), timeout=timeout_s)
    try:
        # Without it a command waits for the delayed acknowledgement of the one before: 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _TlsLine(sock, tls, server_name, timeout_s) if tls else _PlainLine(sock)
    except BaseException:
        sock.close()
        raise


def _wait(sock: socket.socket, event: int, timeout_s: float) -> bool:
    if timeout_s <= 0:
        return False
    try:
        poll = select.poll()
        poll.register(sock, event)
        return bool(poll.poll(timeout_s * 1000))
    except (OSError, ValueError) as error:
        raise WireError(f"the connection broke: {error}") from error
