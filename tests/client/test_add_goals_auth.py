"""What add_goals takes for an application's own auth; what is none is refused, and never mounts the goals open."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Security
from fastapi.testclient import TestClient

from milepost import InvalidField, add_goals, sync
from milepost.client import local


def signed_in(x_session: Annotated[str, Header()]) -> None:
    """The application's own auth."""
    if x_session != "s":
        raise HTTPException(403)


class SignedIn:
    """The same, as a callable object."""

    def __call__(self, x_session: Annotated[str, Header()]) -> None:
        signed_in(x_session)


@pytest.mark.parametrize(
    "auth",
    [
        signed_in,
        SignedIn(),
        Depends(signed_in),
        Security(signed_in, scopes=["goals"]),
        [signed_in],
        (Depends(signed_in), SignedIn()),
    ],
)
def test_a_dependency_or_several_guard_the_goals(database_url: str, auth: Any) -> None:
    """However they are written: who does not pass them is answered as everywhere in the application."""
    app = FastAPI()

    @app.get("/own", dependencies=[Depends(signed_in)])
    def own() -> None: ...

    with sync.easy_goals(database_url=database_url) as manager:
        add_goals(app, manager, auth=auth)
        client = TestClient(app)
        refused = client.get("/goals")
        assert refused.status_code == 422
        assert refused.json()["detail"][0] == client.get("/own").json()["detail"][0]
        assert client.get("/goals", headers={"X-Session": "x"}).status_code == 403
        assert client.get("/goals", headers={"X-Session": "s"}).json() == []


@pytest.mark.parametrize("auth", [[], (), "", "secret", 5, False, [None], [signed_in, None], Depends(), [[signed_in]]])
def test_what_is_no_dependency_is_refused(auth: Any) -> None:
    """It names `auth`, and nothing is mounted or opened."""
    app = FastAPI()
    with pytest.raises(InvalidField, match=r"^auth: must be a dependency") as refused:
        add_goals(app, auth=auth)
    assert refused.value.field == "auth"
    assert app.openapi()["paths"] == {}
    assert local.server_configs() == []


def test_no_auth_at_all_is_a_choice(database_url: str) -> None:
    """Left out, or None: whoever reaches the application has the goals."""
    with sync.easy_goals(database_url=database_url) as manager:
        for options in ({}, {"auth": None}):
            app = FastAPI()
            add_goals(app, manager, **options)
            assert TestClient(app).get("/goals").json() == []
