"""Pages of other origins call the API from a browser only where a setting names them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from api.app import make_app
from core.errors import SettingsError
from core.settings import Settings, load_settings

ORIGIN = "https://app.example"
ASKS = {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "if-match"}


def headers_of(settings: Settings, key: str, origin: str) -> dict[str, str]:
    """The CORS headers of an answer, and of what a browser asks before it sends a PATCH."""
    with TestClient(make_app(settings), headers={"Authorization": f"Bearer {key}"}) as client:
        answer = client.get("/goals", headers={"Origin": origin})
        assert answer.status_code == 200
        asked = client.options("/goals/x", headers={**ASKS, "Origin": origin})
    found = {**dict(asked.headers), **dict(answer.headers)}
    return {name: value for name, value in found.items() if name.startswith("access-control-")}


def test_no_other_origin_is_allowed_by_default(settings: Settings, new_key: Callable[..., str]) -> None:
    """Neither to ask nor to read."""
    assert headers_of(settings, new_key("goals:read"), ORIGIN) == {}


def test_named_origins_may_ask_and_read(settings: Settings, new_key: Callable[..., str]) -> None:
    """With the headers that our requests and answers have; others still may not."""
    changed = settings.model_copy(update={"cors_origins": f"{ORIGIN}, https://other.example"})
    allowed = headers_of(changed, new_key("goals:read"), ORIGIN)
    assert allowed["access-control-allow-origin"] == ORIGIN
    assert "PATCH" in allowed["access-control-allow-methods"]
    assert {"ETag", "Link"} <= set(allowed["access-control-expose-headers"].split(", "))
    assert "access-control-allow-credentials" not in allowed
    assert "access-control-allow-origin" not in headers_of(changed, new_key("goals:read"), "https://evil.example")


@pytest.mark.parametrize(
    "origins", ["*", "app.example", "https://app.example/", "https://a.example,ftp://b", "https://"]
)
def test_what_is_no_origin_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    """The error names the setting."""
    monkeypatch.setenv("MILEPOST_CORS_ORIGINS", origins)
    with pytest.raises(SettingsError, match="MILEPOST_CORS_ORIGINS"):
        load_settings()
