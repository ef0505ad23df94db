"""Proves, before we say that we are ready, that this broker keeps devices apart.

Two throw-away devices with real certificates try what a hostile device would try. Whatever a broker answers (some
grant a forbidden subscription, some acknowledge a forbidden message), only what arrives counts: after each attempt an
allowed message goes the same way, and when that is there the forbidden one must not be.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from control_plane.clock import Clock
from control_plane.devices.authority import Authority
from control_plane.mqtt.broker import BrokerAddress, BrokerProfile, Clients
from control_plane.mqtt.credentials import PROBE
from control_plane.mqtt.wire import Message, Will, WireClient, WireError
from protocols.cloud.topics import Channel, topic
from protocols.ids import new_device_id

_LIFETIME: Final = timedelta(minutes=10)
_WAIT_S: Final = 5.0
_FORGED: Final = b'{"forged":true}'
_HONEST: Final = b'{"honest":true}'


@dataclass(slots=True)
class Findings:
    """What the test saw. ``holes`` is empty for a broker that can be trusted."""

    holes: list[str] = field(default_factory=list)
    #: Differences from the profile that are no holes.
    surprises: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_safe(self) -> bool:
        """Whether devices are kept apart."""
        return not self.holes


class SelfTest:
    """One run against one broker. ``names`` must be let in while it runs, and no longer."""

    def __init__(
        self,
        authority: Authority,
        address: BrokerAddress,
        profile: BrokerProfile,
        clock: Clock,
        *,
        cell: str,
        foreign: Authority | None = None,
    ) -> None:
        self.names = (f"{new_device_id()}-test-a", f"{new_device_id()}-test-b")
        self._pairs = {name: authority.make_client(name, _LIFETIME) for name in self.names}
        self._authority = authority
        self._foreign = foreign
        self._clients = Clients(authority, address)
        self._address = address
        self._profile = profile
        self._cell = cell
        self._clock = clock
        self._found = Findings()
        self._open: list[WireClient] = []

    def run(self) -> Findings:
        """Try everything. Raises WireError when the broker cannot be tested, which is not a finding."""
        began = time.monotonic()
        try:
            self._outsiders()
            if self._found.is_safe:
                self._insiders()
        finally:
            for client in self._open:
                client.close()
        self._found.seconds = round(time.monotonic() - began, 3)
        return self._found

    def _outsiders(self) -> None:
        name = self.names[0]
        without = ssl.create_default_context(cadata=self._authority.ca_pem)
        self._must_be_refused("a client without a certificate", name, without)
        self._must_be_refused("a client without TLS", name, None)
        if self._foreign is not None:
            stranger = self._foreign.client_context(self._foreign.make_client(name, _LIFETIME))
            stranger.load_verify_locations(cadata=self._authority.ca_pem)
            self._must_be_refused("a client of another authority", name, stranger)

    def _must_be_refused(self, who: str, name: str, tls: ssl.SSLContext | None) -> None:
        try:
            client = WireClient(
                self._address.host,
                self._address.port,
                client_id=name,
                tls=tls,
                server_name=self._address.server_name,
                timeout_s=2.0,
            )
        except WireError:
            return
        client.close()
        self._found.holes.append(f"{who} was let in")

    def _insiders(self) -> None:
        a, b = self.names
        cloud = self._kept(self._clients.connect(f"{PROBE}-{self._cell}"))
        victim = self._device(b)
        attacker = self._device(a)
        for channel in (Channel.TRANSACTIONS, Channel.PRESENCE):
            cloud.subscribe([(self._topic(name, channel), 1) for name in self.names])
        victim.subscribe([(self._topic(b, Channel.COMMAND), 0)])
        attacker.subscribe([(self._topic(a, Channel.COMMAND), 0)])
        self._reading(attacker, victim, cloud)
        self._writing(self._device(a), victim, cloud)
        self._will(cloud)

    def _reading(self, attacker: WireClient, victim: WireClient, cloud: WireClient) -> None:
        a, b = self.names
        granted = []
        for name in (
            self._topic(b, Channel.COMMAND),
            f"fl/1/{self._cell}/{b}/#",
            f"fl/1/{self._cell}/+/dn/cmd",
            f"fl/1/{self._cell}/+/up/#",
            "fl/#",
            "#",
            f"$share/x/fl/1/{self._cell}/{b}/dn/cmd",
        ):
            try:
                granted += [code < 128 for code in attacker.subscribe([(name, 0)])]
            except WireError:
                # Thrown out for asking: that is a refusal, too.
                granted.append(False)
                attacker = self._device(a)
                attacker.subscribe([(self._topic(a, Channel.COMMAND), 0)])
        if any(granted) == self._profile.denies_subscribe:
            self._found.surprises.append(f"forbidden subscriptions: granted {sum(granted)}")
        cloud.publish(self._topic(b, Channel.COMMAND), _HONEST)
        cloud.publish(self._topic(a, Channel.COMMAND), _HONEST)
        seen = self._until(attacker, self._topic(a, Channel.COMMAND))
        if any(b in message.topic for message in seen):
            self._found.holes.append("a device received what was for another")
        self._until(victim, self._topic(b, Channel.COMMAND))

    def _writing(self, attacker: WireClient, victim: WireClient, cloud: WireClient) -> None:
        a, b = self.names
        for channel in (Channel.TRANSACTIONS, Channel.COMMAND):
            attacker = self._try_to_publish(attacker, self._topic(b, channel))
        attacker.subscribe([(self._topic(a, Channel.COMMAND), 0)])
        still_there = self._try_to_publish(attacker, self._topic(a, Channel.COMMAND))
        if still_there is not attacker:
            attacker = still_there
            attacker.subscribe([(self._topic(a, Channel.COMMAND), 0)])
        attacker.publish(self._topic(a, Channel.TRANSACTIONS), _HONEST, qos=1)
        if _FORGED in self._payloads(cloud, self._topic(a, Channel.TRANSACTIONS)):
            self._found.holes.append("a device wrote in the name of another")
        for name, client, what in (
            (b, victim, "a device gave another a command"),
            (a, attacker, "a device gave itself a command"),
        ):
            cloud.publish(self._topic(name, Channel.COMMAND), _HONEST)
            if _FORGED in self._payloads(client, self._topic(name, Channel.COMMAND)):
                self._found.holes.append(what)

    def _try_to_publish(self, attacker: WireClient, name: str) -> WireClient:
        try:
            attacker.publish(name, _FORGED, qos=1)
            attacker.settle()
        except WireError:
            return self._device(self.names[0])
        return attacker

    def _will(self, cloud: WireClient) -> None:
        a, b = self.names
        forged = Will(self._topic(b, Channel.PRESENCE), _FORGED)
        # A broker that refuses it at once is better still.
        with contextlib.suppress(WireError):
            self._clients.connect(a, self._pairs[a], will=forged).abandon()
        honest = Will(self._topic(a, Channel.PRESENCE), _HONEST)
        self._clients.connect(a, self._pairs[a], will=honest).abandon()
        if _FORGED in self._payloads(cloud, self._topic(a, Channel.PRESENCE)):
            self._found.holes.append("a last will was published in the name of another")
        # A will is retained: what this test left must not be taken for a device.
        eraser = self._device(a)
        eraser.publish(self._topic(a, Channel.PRESENCE), b"", qos=1, retain=True)
        eraser.settle()

    def _payloads(self, client: WireClient, last_topic: str) -> list[bytes]:
        return [message.payload for message in self._until(client, last_topic)]

    def _until(self, client: WireClient, last_topic: str) -> list[Message]:
        """What arrives up to the honest message on a topic. Raises WireError when that does not come."""
        seen: list[Message] = []
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            for message in client.receive(0.5):
                seen.append(message)
                if message.topic == last_topic and message.payload == _HONEST:
                    return seen
        raise WireError(f"the broker did not deliver on {last_topic}")

    def _device(self, name: str) -> WireClient:
        return self._kept(self._clients.connect(name, self._pairs[name]))

    def _kept(self, client: WireClient) -> WireClient:
        self._open.append(client)
        return client

    def _topic(self, device: str, channel: Channel) -> str:
        return topic(self._cell, device, channel)
