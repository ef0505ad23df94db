"""The MQTT contract: topics, envelopes, commands and signed requests."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cloud import commands, events, http, topics
from protocols.cloud.configuration import canonical, document_hash
from protocols.cloud.envelope import (
    GENESIS,
    Envelope,
    body_hash,
    open_envelope,
    open_head,
    seal,
)
from protocols.cloud.topics import CHANNEL_STREAM, DELIVERY, Channel, Stream
from protocols.errors import MalformedMessage
from protocols.ids import uuid7

DEVICE = "dev-01m84k3p25"
STEP = events.SessionStep(session_id="ts_1", step="waiting_for_card", code=10)


def envelope(data: events.StreamData, *, seq: int = 1) -> Envelope:
    return Envelope(
        id=str(uuid7()),
        ts="2026-11-23T09:15:02Z",
        boot=1,
        mono_ms=5,
        stream="ev",
        epoch=1,
        seq=seq,
        prev=GENESIS,
        data=data,
    )


@pytest.mark.parametrize("channel", Channel)
def test_a_topic_reads_back(channel: Channel) -> None:
    text = topics.topic("0f", DEVICE, channel)

    assert topics.parse(text) == topics.Address("0f", DEVICE, channel)
    assert str(topics.parse(text)) == text
    assert text.count("/") <= 6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fl/1/00/dev-a1/up",
        "fl/2/00/dev-a1/up/tx",
        "fl/1/0/dev-a1/up/tx",
        "fl/1/00/+/up/tx",
        "fl/1/00/dev-a1/up/tx/more",
        "fl/1/00/dev-a1/dn/tx",
        "fl/1/00/_svc/state",
        "/fl/1/00/dev-a1/up/tx",
    ],
)
def test_another_topic_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        topics.parse(text)


def test_every_channel_says_how_it_is_delivered_and_no_command_is_retained() -> None:
    assert set(DELIVERY) == set(Channel)
    assert not DELIVERY[Channel.COMMAND].retain
    assert not DELIVERY[Channel.GRANT].retain
    assert max(delivery.qos for delivery in DELIVERY.values()) == 1
    assert set(CHANNEL_STREAM.values()) == set(Stream)


def test_a_device_subscribes_to_exact_topics_only() -> None:
    filters = topics.device_subscriptions("00", DEVICE)

    assert len(filters) <= 8
    assert not any(sign in each for sign, each in itertools.product("+#", filters))
    assert f"fl/1/00/{DEVICE}/dn/grant" in filters


def test_a_sealed_message_opens_to_the_same_value() -> None:
    message = envelope(STEP)

    assert open_envelope(seal(message)) == message


def test_an_unknown_key_is_ignored_and_a_missing_one_is_named() -> None:
    plain = msgspec.json.decode(seal(envelope(STEP)))
    plain["data"]["from_the_future"] = 1
    plain["more"] = {"a": 1}
    assert open_envelope(msgspec.json.encode(plain)).data == STEP

    del plain["seq"]
    with pytest.raises(MalformedMessage, match="seq"):
        open_envelope(msgspec.json.encode(plain))


def test_the_head_of_a_message_of_an_unknown_kind_can_still_be_read() -> None:
    plain = msgspec.json.decode(seal(envelope(STEP, seq=7)))
    plain["data"] = {"type": "not.yet.invented"}
    payload = msgspec.json.encode(plain)

    with pytest.raises(MalformedMessage):
        open_envelope(payload)
    head = open_head(payload)
    assert head is not None
    assert (head.stream, head.epoch, head.seq) == ("ev", 1, 7)


@given(st.binary(max_size=400))
def test_garbage_is_a_malformed_message_and_nothing_else(payload: bytes) -> None:
    with pytest.raises(MalformedMessage):
        open_envelope(payload)
    with pytest.raises(MalformedMessage):
        commands.open_command(payload)
    assert open_head(payload) is None


def test_the_hash_of_a_message_changes_with_any_byte() -> None:
    payload = seal(envelope(STEP))

    changed = {
        body_hash(payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :])
        for at in range(len(payload))
    }
    assert len(changed | {body_hash(payload)}) == len(payload) + 1
    assert len(GENESIS) == len(body_hash(payload))


def command(body: commands.CommandBody) -> commands.Command:
    return commands.Command(id="cmd_1", ttl_ms=1000, issued_at="a", expires_at="b", body=body)


def test_a_command_with_a_field_the_device_does_not_know_is_refused_by_name() -> None:
    plain = msgspec.to_builtins(command(commands.CancelPayment(session_id="ts_1")))
    plain["body"]["force"] = True

    with pytest.raises(MalformedMessage, match="force") as refused:
        commands.open_command(msgspec.json.encode(plain))

    assert refused.value.facts["command_id"] == "cmd_1"


@pytest.mark.parametrize("amount", [0, -5, 1_000_000_000_000])
def test_a_payment_of_no_possible_amount_is_refused(amount: int) -> None:
    body = commands.StartPayment(
        session_id="ts_1", reader_id="rd_1", amount_minor=amount, currency="EUR"
    )

    with pytest.raises(MalformedMessage, match="amount_minor"):
        commands.open_command(commands.encode(command(body)))


def test_every_command_that_moves_money_is_claimed() -> None:
    assert set(commands.CLAIMED) == {commands.StartPayment, commands.ReversePayment}


def test_a_configuration_has_one_canonical_form() -> None:
    one = {"b": [1, {"d": "é", "c": None}], "a": True}
    other = {"a": True, "b": [1, {"c": None, "d": "é"}]}

    assert canonical(one) == canonical(other) == '{"a":true,"b":[1,{"c":null,"d":"é"}]}'.encode()
    assert document_hash(one) == document_hash(other)
    with pytest.raises(TypeError):
        canonical({"a": [1.5]})


def test_a_signed_request_covers_method_path_time_and_body() -> None:
    texts = {
        http.signed_text("POST", "/v1/device/claim", 1, b"x"),
        http.signed_text("PUT", "/v1/device/claim", 1, b"x"),
        http.signed_text("POST", "/v1/device/claim?a=1", 1, b"x"),
        http.signed_text("POST", "/v1/device/claim", 2, b"x"),
        http.signed_text("POST", "/v1/device/claim", 1, b"y"),
    }

    assert len(texts) == 5
