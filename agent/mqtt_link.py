"""One MQTT connection over TLS, from its opening to its end: paho in its own thread, everything else in the event loop.

A connection is never repaired: when it ends a new one is made, with a new last will and nothing left of the old one's
queues. The outbox is the only place where messages wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.errors import AgentError
from agent.threads import in_thread
from protocols.cloud.topics import (
    DELIVERY,
    KEEPALIVE_S,
    Channel,
    device_subscriptions,
    service_topic,
    topic,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.reasoncodes import ReasonCode

    from agent.clock import Clock
    from agent.identity import Identity, Membership
    from protocols.cloud.http import Broker

CONNECT_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
SESSION_EXPIRY_S: Final = 7 * 86_400
#: A dead device shows after this; a reconnect within it does not show at all, where the broker knows MQTT 5.
WILL_DELAY_S: Final = 15
#: Received messages that the event loop has not looked at; more are dropped, and the server sends them again.
_MOST_UNREAD: Final = 1000

#: OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for.
_NO_CHECK_TIME: Final = 0x200000
_MQTT5: Final = 5


class LinkRefused(AgentError):
    """The broker cannot be reached, or does not take us; the message says which and what to look at."""

    code = "broker_unavailable"
    retryable = True

    def __init__(self, host: str, port: int, reason: str, hint: str) -> None:
        super().__init__(f"broker {host}:{port}: {hint}", host=host, port=port, reason=reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the cloud. `channel` is `None` for the service state of the cell."""

    channel: Channel | None
    payload: bytes
    at: float
    """CLOCK_BOOTTIME when it arrived, before it waited for anything."""
    is_retained: bool


class MqttLink:
    """One connection. Made by `connect`; `lost` is done when it has ended, with the reason."""

    def __init__(self, client: Client, identity: Identity, lost: asyncio.Future[str]) -> None:
        member = identity.membership
        self._client = client
        self._topics = {
            channel: topic(member.cell, member.device_id, channel) for channel in Channel
        }
        self._properties = _publish_properties() if member.broker.mqtt_level == _MQTT5 else {}
        self.lost = lost

    def publish(self, channel: Channel, payload: bytes) -> bool:
        """Hand a message to the connection; False when it has ended. That it arrived is for others to say."""
        delivery = DELIVERY[channel]
        handed = self._client.publish(
            self._topics[channel],
            payload,
            qos=delivery.qos,
            retain=delivery.retain,
            properties=self._properties.get(channel),
        )
        return handed.rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def socket_option(self, level: int, option: int) -> int:
        """An option of the socket as the system has it."""
        sock: Any = self._client.socket()  # paho's socket-like
        return 0 if sock is None else int(sock.getsockopt(level, option))

    def cut(self) -> None:
        """End it without a word, as a pulled cable does: the broker sends the last will."""
        sock: Any = self._client.socket()  # paho's socket-like
        if sock is not None:
            # Below TLS, which would forget its state while the network thread uses it.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    async def close(self) -> None:
        """End it politely: the last will is not sent. A dead line is left to end by itself."""
        self._client.disconnect()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await in_thread(self._client.loop_stop, "mqtt-close")


async def connect(
    identity: Identity,
    clock: Clock,
    *,
    will: bytes,
    receive: Callable[[Received], None],
    ignore_dates: bool = False,
) -> MqttLink:
    """Connect and subscribe; `receive` is called in the event loop. Raises LinkRefused.

    `ignore_dates`: the device's clock is known to be wrong, so the certificate's dates cannot be checked against it.
    """
    member = identity.membership
    broker = member.broker
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=member.device_id,
        clean_session=None if broker.mqtt_level == _MQTT5 else False,
        protocol=MQTTProtocolVersion(broker.mqtt_level),
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    # Ours is the only queue and the only window.
    client.max_inflight_messages_set(0)
    try:
        context = _context(identity, broker.server_name, ignore_dates)
    except (OSError, ssl.SSLError) as error:
        raise LinkRefused(
            broker.host,
            broker.port,
            "identity",
            f"this device's own certificate cannot be used ({error}); run omnitill-agent doctor",
        ) from error
    client.tls_set_context(context)
    _set_will(
        client, topic(member.cell, member.device_id, Channel.PRESENCE), will, broker.mqtt_level
    )
    callbacks = _Callbacks(asyncio.get_running_loop(), clock, member, receive)
    client.on_socket_open = _without_delay
    client.on_message = callbacks.on_message
    client.on_connect = callbacks.on_connect
    client.on_disconnect = callbacks.on_disconnect
    given_up = threading.Event()
    try:
        await in_thread(lambda: _open(client, broker, context, given_up), "mqtt-open")
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            refusal = await callbacks.accepted
    except BaseException as error:
        given_up.set()
        client.disconnect()
        if isinstance(error, OSError | ValueError | TimeoutError):
            raise _refused(broker.host, broker.port, error) from error
        raise
    link = MqttLink(client, identity, callbacks.lost)
    if refusal:
        await link.close()
        raise LinkRefused(
            broker.host,
            broker.port,
            "not_authorised",
            f"it does not take this device ({refusal}); look at it in the console: it may be suspended",
        )
    return link


def _open(
    client: Client, broker: Broker, context: _NamedContext, given_up: threading.Event
) -> None:
    """Blocking: name, TCP, TLS, CONNECT; then the network thread takes over, unless nobody waits any more."""
    options = {}
    if broker.mqtt_level == _MQTT5:
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        options = {"clean_start": False, "properties": properties}
    try:
        client.connect(broker.host, broker.port, KEEPALIVE_S, **options)
    except BaseException:
        context.close_failed()
        raise
    if given_up.is_set():
        client.disconnect()
    else:
        client.loop_start()


# --- callbacks, all in paho's thread ---------------------------------------------------------------------------


def _without_delay(
    _client: Client, _userdata: object, sock: Any
) -> None:  # Any: paho's socket-like
    # Nagle's algorithm against delayed acknowledgements costs 40 ms for each message that follows another.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Callbacks:
    """Brings what paho's thread sees into the event loop; of messages a bounded number at a time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        member: Membership,
        receive: Callable[[Received], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._receive = receive
        self._filters = device_subscriptions(member.cell, member.device_id)
        self._channels: dict[str, Channel | None] = {
            topic(member.cell, member.device_id, channel): channel for channel in Channel
        }
        self._channels[service_topic(member.cell)] = None
        self._unread = threading.Semaphore(_MOST_UNREAD)
        self.accepted: asyncio.Future[str] = loop.create_future()
        """The broker's answer to CONNECT: empty, or why not."""
        self.lost: asyncio.Future[str] = loop.create_future()

    def on_connect(
        self,
        client: Client,
        _userdata: object,
        _flags: object,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        if not reason.is_failure:
            client.subscribe([(one, 0) for one in self._filters])
        self._hop(_settle, self.accepted, str(reason) if reason.is_failure else "")

    def on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        _flags: object,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        self._hop(_settle, self.accepted, str(reason))
        self._hop(_settle, self.lost, str(reason))

    def on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if message.topic not in self._channels or not self._unread.acquire(blocking=False):
            return
        received = Received(
            self._channels[message.topic],
            bytes(message.payload),
            self._clock.elapsed(),
            is_retained=message.retain,
        )
        self._hop(self._deliver, received)

    def _deliver(self, received: Received) -> None:
        self._unread.release()
        self._receive(received)

    def _hop(self, function: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(function, *arguments)


def _settle(future: asyncio.Future[str], text: str) -> None:
    if not future.done():
        future.set_result(text)


# --- TLS and properties ----------------------------------------------------------------------------------------


class _NamedContext(ssl.SSLContext):
    """Checks the broker's certificate against the name that was given at enrolment, whatever address is dialled."""

    server_name: str
    _wrapped: ssl.SSLSocket | None = None

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:  # as paho calls it
        options["server_hostname"] = self.server_name
        self._wrapped = super().wrap_socket(*arguments, **options)
        return self._wrapped

    def close_failed(self) -> None:
        """Close a socket whose handshake failed; paho forgets it."""
        if self._wrapped is not None:
            self._wrapped.close()


def _context(identity: Identity, server_name: str, ignore_dates: bool) -> _NamedContext:
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = server_name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(identity.ca_file)
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    if ignore_dates:
        context.verify_flags |= _NO_CHECK_TIME
    return context


def _set_will(client: Client, will_topic: str, payload: bytes, level: int) -> None:
    delivery = DELIVERY[Channel.PRESENCE]
    properties = None
    if level == _MQTT5:
        properties = _properties(PacketTypes.WILLMESSAGE)
        properties.WillDelayInterval = WILL_DELAY_S
    client.will_set(
        will_topic, payload, qos=delivery.qos, retain=delivery.retain, properties=properties
    )


def _properties(packet: int) -> Any:  # paho keeps properties as attributes that no type knows
    return Properties(packet)  # type: ignore[no-untyped-call]


def _publish_properties() -> dict[Channel, Properties]:
    made = {}
    for channel, delivery in DELIVERY.items():
        properties = _properties(PacketTypes.PUBLISH)
        properties.ContentType = "application/json"
        if delivery.expiry_s is not None:
            properties.MessageExpiryInterval = delivery.expiry_s
        made[channel] = properties
    return made


def _refused(host: str, port: int, error: BaseException) -> LinkRefused:
    match error:
        case socket.gaierror():
            reason, hint = "name", f"the name {host} is not known; check the network's DNS"
        case ssl.SSLCertVerificationError():
            reason = "certificate"
            hint = f"its certificate is not accepted ({error.verify_message}); check this machine's clock first"
        case ssl.SSLError():
            reason, hint = (
                "tls",
                f"TLS failed ({error.reason or error}); this device's certificate may be revoked",
            )
        case TimeoutError():
            reason, hint = "timeout", "no answer; a firewall may block this port"
        case ConnectionRefusedError():
            reason, hint = "refused", "nothing listens there; the broker may be down"
        case _:
            reason, hint = "unreachable", f"there is no way to it ({error}); check the network"
    return LinkRefused(host, port, reason, hint)
