"""Envelopes, commands and topics: what one side writes, the other reads, or refuses by name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cloud import http, topics
from protocols.cloud.commands import (
    CLAIMED,
    Command,
    RebootReader,
    ReportNow,
    ReversePayment,
    ShowReaderText,
    StartPayment,
    encode,
    open_command,
)
from protocols.cloud.configuration import canonical, document_hash
from protocols.cloud.envelope import (
    GENESIS,
    Envelope,
    body_hash,
    open_envelope,
    open_head,
    seal,
)
from protocols.cloud.events import CommandResult, PaymentResult, SessionStep
from protocols.cloud.topics import Channel, Stream
from protocols.errors import MalformedMessage

SALE = PaymentResult(
    session_id="ts_1234",
    reader_id="rd_1234",
    kind="sale",
    outcome="approved",
    amount_minor=12_34,
    currency="EUR",
    decided_by="answer",
)


def envelope(data: Any = SALE, **changes: Any) -> Envelope:
    parts: dict[str, Any] = {
        "id": "0196a0c2-7b51-7c3e-9a41-5d0f6b2e8c90",
        "ts": "2026-05-04T08:00:00Z",
        "boot": 1,
        "mono_ms": 5,
        "stream": "tx",
        "epoch": 1,
        "seq": 1,
        "prev": GENESIS,
        "data": data,
    }
    return Envelope(**{**parts, **changes})


def command(body: Any, **changes: Any) -> Command:
    parts: dict[str, Any] = {
        "id": "cmd_1234",
        "ttl_ms": 1000,
        "issued_at": "2026-05-04T08:00:00Z",
        "expires_at": "2026-05-04T08:00:01Z",
        "body": body,
    }
    return Command(**{**parts, **changes})


def changed(payload: bytes, path: list[str], value: object) -> bytes:
    whole = json.loads(payload)
    part = whole
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return json.dumps(whole).encode()


@given(
    st.integers(-(10**12) + 1, 10**12 - 1),
    st.text(max_size=200),
    st.integers(0, 2**62),
    st.sampled_from(["sale", "refund", "reversal"]),
)
def test_an_envelope_is_read_as_it_was_sealed(minor: int, note: str, seq: int, kind: Any) -> None:
    sealed = envelope(
        msgspec.structs.replace(SALE, amount_minor=minor, note=note, kind=kind), seq=seq
    )

    assert open_envelope(seal(sealed)) == sealed


def test_what_a_newer_device_adds_is_ignored() -> None:
    payload = changed(seal(envelope()), ["data", "loyalty_points"], 12)
    payload = changed(payload, ["hop"], "gateway")

    assert open_envelope(payload) == envelope()


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["seq"], "one", "$.seq"),
        (["data", "amount_minor"], 12.34, "$.data.amount_minor"),
        (["data", "amount_minor"], 10**12, "$.data.amount_minor"),
        (["data", "currency"], "euro", "$.data.currency"),
        (["data", "outcome"], "maybe", "$.data.outcome"),
        (["data", "type"], "gift", "$.data"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(
    path: list[str], value: object, named: str
) -> None:
    with pytest.raises(MalformedMessage) as refused:
        open_envelope(changed(seal(envelope()), path, value))

    assert named in refused.value.reason


def test_the_key_of_an_unreadable_message_is_still_found() -> None:
    payload = changed(seal(envelope(seq=41)), ["data"], {"type": "gift", "points": 3})

    head = open_head(payload)

    assert head is not None
    assert (head.stream, head.epoch, head.seq) == ("tx", 1, 41)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_readers_raise_anything_else(payload: bytes) -> None:
    for read in (open_envelope, open_command, open_head):
        with contextlib.suppress(MalformedMessage):
            read(payload)


@pytest.mark.parametrize("read", [open_envelope, open_command])
@pytest.mark.parametrize(
    "payload",
    [b'{"x":' + b"[" * 20_000, b'{"data":{"type":"device.event","x":' + b"[" * 20_000],
    ids=["around", "inside"],
)
def test_deeply_nested_bytes_are_refused(payload: bytes, read: Callable[[bytes], object]) -> None:
    with pytest.raises(MalformedMessage):
        read(payload)

    assert open_head(payload) is None


def test_a_missing_key_is_refused_by_its_name() -> None:
    whole = json.loads(seal(envelope()))
    del whole["seq"]

    with pytest.raises(MalformedMessage, match="seq"):
        open_envelope(json.dumps(whole).encode())


def test_the_hash_of_a_message_changes_with_any_byte() -> None:
    payload = seal(envelope())

    changed_hashes = {
        body_hash(payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :])
        for at in range(len(payload))
    }

    assert len(changed_hashes | {body_hash(payload)}) == len(payload) + 1
    assert len(GENESIS) == len(body_hash(payload))


def test_a_command_is_read_as_it_was_sent() -> None:
    sent = command(ShowReaderText(reader_id="rd_1234", lines=["Bonjour"], seconds=5))

    assert open_command(encode(sent)) == sent


@pytest.mark.parametrize(
    "path",
    [["priority"], ["body", "tip_minor"]],
    ids=["in the command", "in its body"],
)
def test_a_command_with_a_field_nobody_knows_is_refused_and_can_be_named(path: list[str]) -> None:
    sent = command(
        StartPayment(session_id="ts_1234", reader_id="rd_1234", amount_minor=1, currency="EUR")
    )

    with pytest.raises(MalformedMessage) as refused:
        open_command(changed(encode(sent), path, 1))

    assert refused.value.facts["command_id"] == "cmd_1234"
    assert path[-1] in refused.value.reason


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["body", "amount_minor"], 0),
        (["body", "amount_minor"], -1),
        (["body", "amount_minor"], 10**12),
        (["body", "card_timeout_s"], 4),
        (["body", "transaction"], "gift"),
        (["ttl_ms"], 0),
        (["ttl_ms"], 86_400_001),
    ],
)
def test_a_payment_out_of_bounds_is_refused(path: list[str], value: object) -> None:
    sent = command(
        StartPayment(session_id="ts_1234", reader_id="rd_1234", amount_minor=1, currency="EUR")
    )

    with pytest.raises(MalformedMessage):
        open_command(changed(encode(sent), path, value))


def test_kinds_of_command_are_told_apart_by_name() -> None:
    kinds = [
        json.loads(encode(command(body)))["body"]["kind"]
        for body in (ReportNow(), RebootReader(reader_id="rd_1"))
    ]

    assert kinds == ["agent.report", "reader.reboot"]


@pytest.mark.parametrize("channel", Channel)
def test_a_topic_is_read_as_it_was_written(channel: Channel) -> None:
    written = topics.topic("0a", "dev-1234", channel)

    address = topics.parse(written)

    assert (address.cell, address.device_id, address.channel) == ("0a", "dev-1234", channel)
    assert str(address) == written


def test_topics_stay_within_what_every_broker_allows() -> None:
    longest = max((topics.topic("0a", "d" * 64, channel) for channel in Channel), key=len)

    assert longest.count("/") <= 6
    assert len(longest) <= 256
    assert not any("." in channel.value or "$" in channel.value for channel in Channel)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fl/1/0a/dev-1234",
        "fl/2/0a/dev-1234/up/tx",
        "fl/1/0A/dev-1234/up/tx",
        "fl/1/0a/+/up/tx",
        "fl/1/0a/dev-1234/up/tx/x",
        "fl/1/0a/dev-1234/up/gift",
        "fl/1/0a/_svc/state",
        "/fl/1/0a/dev-1234/up/tx",
    ],
)
def test_any_other_topic_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        topics.parse(text)


def test_a_device_subscribes_to_all_that_goes_down_and_to_nothing_with_a_wildcard() -> None:
    filters = topics.device_subscriptions("0a", "dev-1234")

    assert len(filters) <= 8
    assert not [one for one in filters if "+" in one or "#" in one]
    assert {topics.parse(one).channel.value[:2] for one in filters[:-1]} == {"dn"}


def test_every_stream_has_a_channel_of_its_own() -> None:
    assert set(topics.STREAM_CHANNEL) == set(Stream)
    assert len(topics.CHANNEL_STREAM) == len(Stream)
    assert set(topics.DELIVERY) == set(Channel)


def test_commands_are_never_retained_and_nothing_needs_quality_of_service_two() -> None:
    assert not topics.DELIVERY[Channel.COMMAND].retain
    assert not topics.DELIVERY[Channel.GRANT].retain
    assert max(delivery.qos for delivery in topics.DELIVERY.values()) == 1


def test_every_command_that_moves_money_is_claimed() -> None:
    assert set(CLAIMED) == {StartPayment, ReversePayment}


def test_what_a_device_signs_over_https_binds_method_path_time_and_body() -> None:
    texts = {
        http.signed_text("POST", "/v1/device/claim", 1, b"x"),
        http.signed_text("PUT", "/v1/device/claim", 1, b"x"),
        http.signed_text("POST", "/v1/device/claim?a=1", 1, b"x"),
        http.signed_text("POST", "/v1/device/claim", 2, b"x"),
        http.signed_text("POST", "/v1/device/claim", 1, b"y"),
    }

    assert len(texts) == 5
    assert http.signed_text("post", "/v1/device/claim", 1, b"x") in texts


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), documents, max_size=4))
def test_a_document_has_one_hash_whatever_the_order_of_its_keys(document: dict[str, Any]) -> None:
    turned = dict(reversed(document.items()))

    assert document_hash(turned) == document_hash(document)
    assert json.loads(canonical(document)) == document


def test_a_document_with_a_fraction_is_refused() -> None:
    with pytest.raises(TypeError, match="floats"):
        document_hash({"readers": [{"volume": 0.5}]})


@pytest.mark.parametrize(
    "line",
    [
        # What devices of version 1 wrote; these must be read for ever.
        '{"v":1,"id":"0196a0c2-7b51-7c3e-9a41-5d0f6b2e8c90","ts":"2026-05-04T08:15:30.120Z","boot":7,"mono_ms":818960,'
        '"clk_unc_ms":12,"stream":"tx","epoch":1,"seq":1,"prev":"00000000000000000000000000000000","data":{"type":'
        '"payment.result","session_id":"ts_1","reader_id":"rd_1","kind":"sale","outcome":"approved","amount_minor":1234,'
        '"currency":"EUR","decided_by":"answer"}}',
        '{"id":"x","ts":"","boot":1,"mono_ms":1,"stream":"ev","epoch":1,"seq":2,"prev":"","data":{"type":"session.step",'
        '"session_id":"ts_1","step":"sent"}}',
        '{"id":"x","ts":"","boot":1,"mono_ms":1,"stream":"res","epoch":1,"seq":2,"prev":"","data":{"type":'
        '"command.result","command_id":"cmd_1","status":"succeeded"}}',
    ],
    ids=["result", "step", "command"],
)
def test_messages_of_the_first_version_are_read_for_ever(line: str) -> None:
    opened = open_envelope(line.encode())

    assert isinstance(opened.data, PaymentResult | SessionStep | CommandResult)
