"""A setting that makes no sense stops the start with one line that names it."""

from __future__ import annotations

import pytest

from core.errors import SettingsError
from core.settings import load_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MILEPOST_SHARDS", "none"),
        ("MILEPOST_SHARDS", "0"),
        ("MILEPOST_PORT", "70000"),
        ("MILEPOST_DATABASE_URL", "sqlite:///x"),
        ("MILEPOST_LISTEN_URL", "mysql://x"),
        ("MILEPOST_REDIS_URL", "memory://"),
        ("MILEPOST_BOOTSTRAP_KEY", "short"),
        ("MILEPOST_SECRETS_KEY", "shorter-than-thirty-two-chars"),
        ("MILEPOST_SECRETS_KEY", "one-that-is-as-long-as-it-has-to-be,short"),
        ("MILEPOST_LOG_LEVEL", "LOUD"),
        ("MILEPOST_STREAM_DURABILITY", "maybe"),
        ("MILEPOST_ENDPOINT_HTTP", "sometimes"),
        ("MILEPOST_ENDPOINT_NETWORKS", "10.0.0.0/8,10.0.0.0/33"),
        ("MILEPOST_ENDPOINT_NETWORKS", "10.0.0.1/8"),
        ("MILEPOST_SHARD", "2"),
    ],
)
def test_a_bad_setting_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The refusal names the variable, has one line, and does not repeat a secret."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    text = str(refused.value)
    assert text.startswith(name)
    assert "\n" not in text
    assert name == "MILEPOST_SHARD" or value not in text.removeprefix(name)


def test_addresses_do_not_show_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing the settings shows no password."""
    monkeypatch.setenv("MILEPOST_DATABASE_URL", "postgresql://u:hunter2@h/d")
    monkeypatch.setenv("MILEPOST_REDIS_URL", "redis://:hunter2@h/0")
    monkeypatch.setenv(
        "MILEPOST_SECRETS_KEY", "hunter2-and-enough-of-it-to-be-taken, hunter2-and-another-one-of-that-length"
    )
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert [len(key) for key in settings.secrets_keys] == [36, 38]
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql+psycopg://u:hunter2@h/d"
