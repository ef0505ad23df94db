"""What a person may write into agent.toml, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import AgentConfig, ConfigUnreadable, ReaderConfig, load

READER = (
    '[[readers]]\nname = "counter-1"\nprofile = "generic-zvt-tcp"\naddress = "tcp://10.0.0.5"\n'
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return path


def test_without_a_file_there_are_defaults() -> None:
    config = load(environment={})

    assert config == AgentConfig()
    assert config.state_path == Path("/var/lib/omnitill-agent")


def test_everything_can_be_written_in_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'state_dir = "/srv/agent"\ncloud = "mqtt"\nhttps_after_s = 5\nfinish_within_s = 10.5\n'
        'log_format = "console"\nlog_level = "debug"\n'
        + READER
        + 'currency = "CHF"\npassword = "123456"\n',
    )

    config = load(path, environment={})

    assert config == AgentConfig(
        state_dir="/srv/agent",
        cloud="mqtt",
        https_after_s=5,
        finish_within_s=10.5,
        log_format="console",
        log_level="debug",
        readers=[
            ReaderConfig(
                name="counter-1",
                profile="generic-zvt-tcp",
                address="tcp://10.0.0.5",
                currency="CHF",
                password="123456",
            )
        ],
    )


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'state_dir = "/srv/agent"\nlog_level = "info"\n')

    config = load(
        environment={
            "OMNITILL_AGENT_CONFIG": str(path),
            "OMNITILL_AGENT_STATE_DIR": "/tmp/agent",
            "OMNITILL_AGENT_LOG_LEVEL": "error",
            "OMNITILL_AGENT_CLOUD": "https",
        }
    )

    assert (config.state_dir, config.log_level, config.cloud) == ("/tmp/agent", "error", "https")


def test_profiles_lie_beside_the_state_unless_a_folder_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, 'state_dir = "/srv/agent"\n')
    named = {"OMNITILL_AGENT_PROFILES_DIR": "/etc/omnitill/profiles"}

    assert load(path, environment={}).profiles_path == Path("/srv/agent/profiles")
    assert load(path, environment=named).profiles_path == Path("/etc/omnitill/profiles")


def test_the_folder_of_the_service_manager_is_taken_unless_the_file_names_one(
    tmp_path: Path,
) -> None:
    environment = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}
    path = written(tmp_path, 'state_dir = "/srv/agent"\n')

    assert load(environment=environment).state_dir == "/var/lib/a"
    assert load(path, environment=environment).state_dir == "/srv/agent"


def test_a_password_is_read_from_its_file_and_hides_itself(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("123456\n")
    reader = ReaderConfig(
        name="c", profile="p", address="a", password_file=str(tmp_path / "password")
    )

    secret = reader.secret()

    assert secret is not None
    assert secret.reveal() == "123456"
    assert "123456" not in repr(secret)


def test_a_reader_without_a_password_has_none() -> None:
    assert ReaderConfig(name="c", profile="p", address="a").secret() is None


def test_a_password_file_that_is_not_there_is_named() -> None:
    reader = ReaderConfig(name="counter-1", profile="p", address="a", password_file="/nowhere")

    with pytest.raises(ConfigUnreadable, match="password file of counter-1.*/nowhere"):
        reader.secret()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("state_dir = ", "agent.toml: Invalid value"),
        ("stat_dir = 'x'", "unknown setting `stat_dir`"),
        ("cloud = 'carrier pigeon'", "`cloud`"),
        ("finish_within_s = 'long'", "`finish_within_s`"),
        (READER.replace("address", "adress"), "readers[0]"),
        (READER.replace("counter-1", ""), "`readers[0].name`"),
        ("[discovery]\nwifi = true", "unknown setting `wifi`"),
        ("[discovery]\ncurrency = 'EURO'", "discovery: currency is not known"),
        ("[discovery]\nforget_after_h = 0", "`discovery.forget_after_h`"),
        (READER + READER, "two readers are called counter-1"),
        (READER + "currency = 'EURO'", "counter-1: currency is not known"),
        (READER + "password = '1'\npassword_file = 'x'", "keep one of them"),
    ],
)
def test_a_mistake_is_said_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigUnreadable) as unreadable:
        load(written(tmp_path, text), environment={})

    assert "agent.toml" in unreadable.value.message
    assert complaint in unreadable.value.message


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigUnreadable, match="nowhere.toml is not there"):
        load(tmp_path / "nowhere.toml", environment={})
