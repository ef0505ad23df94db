"""Rights at the brokers, made from the topics."""

from __future__ import annotations

from control_plane.mqtt.credentials import (
    device_rights,
    ingest_filters,
    mosquitto_acl,
    nats_subject,
    nats_users,
    service_rights,
)
from protocols.cloud.topics import Channel, Direction, topic


def matches(name: str, pattern: str) -> bool:
    """Whether an MQTT filter takes a topic."""
    levels, wanted = name.split("/"), pattern.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(levels) or level not in ("+", levels[at]):
            return False
    return len(levels) == len(wanted)


def test_a_device_may_do_exactly_what_its_channels_need() -> None:
    rights = device_rights("dev-aaaa")

    for channel in Channel:
        own, other = topic("00", "dev-aaaa", channel), topic("00", "dev-bbbb", channel)
        goes_up = channel.direction is Direction.UP
        assert any(matches(own, one) for one in rights.publish) is goes_up
        assert any(matches(own, one) for one in rights.receive) is not goes_up
        assert not any(matches(other, one) for one in (*rights.publish, *rights.receive))


def test_each_upward_channel_is_heard_by_exactly_one_service() -> None:
    heard = [*ingest_filters("00"), *service_rights("00")["svc-gateway-00"].receive]

    for channel in Channel:
        listeners = [one for one in heard if matches(topic("00", "dev-aaaa", channel), one)]
        assert len(listeners) == (channel.direction is Direction.UP)


def test_ingest_can_only_acknowledge() -> None:
    rights = service_rights("00")["svc-ingest-00"]

    told = [
        channel
        for channel in Channel
        if any(matches(topic("00", "dev-aaaa", channel), one) for one in rights.publish)
    ]
    assert told == [Channel.ACK]


def test_the_acl_of_mosquitto_has_patterns_and_ends_with_who_is_denied() -> None:
    lines = mosquitto_acl(["00"], ["dev-gone"]).splitlines()

    assert "pattern write fl/1/+/%u/up/#" in lines
    assert "pattern read fl/1/+/%u/dn/#" in lines
    assert lines[-2:] == ["user dev-gone", "topic deny #"]
    assert not any(line.startswith("topic") for line in lines[: lines.index("user svc-ingest-00")])


def test_each_allowed_device_is_a_user_of_nats_with_rights_of_its_own() -> None:
    users = nats_users(["00"], ["dev-aaaa", "dev-bbbb"])

    line = next(one for one in users.splitlines() if "CN=dev-aaaa" in one)
    assert '"fl.1.*.dev-aaaa.up.>"' in line
    assert "dev-bbbb" not in line
    assert '">"' not in users


def test_a_filter_with_all_levels_also_means_the_level_above() -> None:
    assert nats_subject("fl/1/+/dev-a/dn/#") == ("fl.1.*.dev-a.dn", "fl.1.*.dev-a.dn.>")
    assert nats_subject("fl/1/+/_svc/state") == ("fl.1.*._svc.state",)
