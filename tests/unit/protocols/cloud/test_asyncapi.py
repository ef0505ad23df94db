"""The AsyncAPI document: whole, consistent, and true to what the programs send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from jsonschema import Draft7Validator

from protocols.cloud import topics
from protocols.cloud.asyncapi import RESERVED, SERVICE, Message, document, messages_of
from protocols.cloud.commands import CommandBody, open_command
from protocols.cloud.envelope import open_envelope
from protocols.cloud.events import StreamData
from protocols.cloud.topics import CHANNEL_STREAM, DELIVERY, MAX_PAYLOAD_BYTES, Channel, Direction

DOCUMENT: Any = document("1.2.3")  # Any: the tests walk through plain JSON

SPOKEN = [channel for channel in Channel if channel not in RESERVED]
MESSAGES = [(channel, message) for channel in SPOKEN for message in messages_of(channel)]
EACH_MESSAGE = pytest.mark.parametrize(
    ("channel", "message"),
    MESSAGES,
    ids=[f"{channel.value}-{message.name}" for channel, message in MESSAGES],
)


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolved(reference: str) -> Any:
    found = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_it_is_an_asyncapi_3_document_of_the_given_version() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert set(DOCUMENT) == {
        "asyncapi",
        "info",
        "defaultContentType",
        "servers",
        "channels",
        "operations",
        "components",
    }


def test_it_is_plain_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(DOCUMENT)) == DOCUMENT


def test_every_channel_of_the_tree_is_described_but_the_reserved_ones() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}

    assert addresses == {
        *(topics.topic("{cell}", "{device}", channel) for channel in SPOKEN),
        topics.service_topic("{cell}"),
    }


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))

    assert len(found) > 50
    assert [reference for reference in found if not isinstance(resolved(reference), dict)] == []


def test_every_schema_is_a_schema_of_draft_7() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


@pytest.mark.parametrize("channel", SPOKEN)
def test_a_channel_is_sent_or_received_with_the_delivery_of_the_contract(channel: Channel) -> None:
    action = "send" if channel.direction is Direction.UP else "receive"
    operation = DOCUMENT["operations"][f"{action}_{channel.name.lower()}"]

    assert operation["action"] == action
    assert resolved(operation["channel"]["$ref"])["address"].endswith(channel.value)
    binding = operation["bindings"]["mqtt"]
    assert (binding["qos"], binding["retain"]) == (DELIVERY[channel].qos, DELIVERY[channel].retain)
    assert binding.get("messageExpiryInterval") == DELIVERY[channel].expiry_s


@pytest.mark.parametrize("key", [*(channel.name.lower() for channel in SPOKEN), SERVICE])
def test_an_operation_names_exactly_the_messages_of_its_channel(key: str) -> None:
    operations = [
        operation
        for operation in DOCUMENT["operations"].values()
        if operation["channel"]["$ref"] == f"#/channels/{key}"
    ]

    assert len(operations) == 1
    assert [one["$ref"] for one in operations[0]["messages"]] == [
        f"#/channels/{key}/messages/{name}" for name in DOCUMENT["channels"][key]["messages"]
    ]


def test_every_kind_of_durable_message_is_described_on_its_stream() -> None:
    described = {message.kind for channel in CHANNEL_STREAM for message in messages_of(channel)}

    assert described == set(get_args(StreamData))


def test_every_kind_of_command_is_described() -> None:
    assert {message.kind for message in messages_of(Channel.COMMAND)} == set(get_args(CommandBody))


@EACH_MESSAGE
def test_a_message_says_what_it_is_and_shows_an_example(channel: Channel, message: Message) -> None:
    described = DOCUMENT["components"]["messages"][message.name]

    assert described["summary"].endswith(".")
    assert described["examples"]
    assert len({example["name"] for example in described["examples"]}) == len(message.examples)


@EACH_MESSAGE
def test_examples_follow_their_schema(channel: Channel, message: Message) -> None:
    described = DOCUMENT["components"]["messages"][message.name]
    whole = {**described["payload"], "components": DOCUMENT["components"]}

    for example in described["examples"]:
        Draft7Validator(whole).validate(example["payload"])


@EACH_MESSAGE
def test_examples_are_read_by_the_code_that_reads_the_real_ones(
    channel: Channel, message: Message
) -> None:
    for example in message.examples:
        if channel is Channel.COMMAND:
            assert open_command(example.payload) == example.message
        elif channel in CHANNEL_STREAM:
            opened = open_envelope(example.payload)
            assert opened == example.message
            assert opened.stream == CHANNEL_STREAM[channel]
            assert type(opened.data) is message.kind
        else:
            assert msgspec.json.decode(example.payload, type=message.kind) == example.message
        assert len(example.payload) < MAX_PAYLOAD_BYTES


def test_a_schema_refuses_the_message_of_another_kind() -> None:
    approved = DOCUMENT["components"]["messages"]["PaymentResult"]["examples"][0]["payload"]
    closing = DOCUMENT["components"]["messages"]["DailyClosing"]["payload"]

    errors = Draft7Validator({**closing, "components": DOCUMENT["components"]}).iter_errors(
        approved
    )

    assert list(errors)
