"""The one Settings class: a process parses it once at its start and passes it on."""

import os
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import SettingsError
from core.rate_limit import RateLimit

PREFIX = "MILEPOST_"
DEFAULT_TENANT = "default"
"""The name of the first tenant."""
SECRETS_KEY_SHORTEST = 32


class Settings(BaseSettings):
    """Every setting of Milepost, from environment variables named MILEPOST_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(None, description="postgresql://... ; unset: the embedded server")
    listen_url: SecretStr | None = Field(
        None, description="the direct address of Postgres for LISTEN; unset: database_url, which then is no pooler's"
    )
    redis_url: SecretStr | None = Field(None, description="redis://... ; unset: the embedded server")
    data_dir: Path = Field(default_factory=lambda: user_data_path("milepost", appauthor=False))
    bootstrap_key: SecretStr | None = Field(None, description="the first API key of the tenant `default`")
    secrets_key: SecretStr | None = Field(
        None, description="seals the secrets of webhooks; several with commas between: the first seals, all open"
    )
    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8000, ge=0, le=65535, description="0: any free one")
    shards: int = Field(2, ge=1, le=64, description="how many streams carry events")
    batch_events: int = Field(4000, ge=1, le=20_000, description="events a drain applies in one transaction")
    drain_processes: int | None = Field(None, ge=1, le=64, description="unset: one a shard")
    job_processes: int = Field(1, ge=1, le=64)
    max_body_bytes: int = Field(8_388_608, ge=1_024, le=268_435_456, description="of one HTTP request")
    stream_durability: Literal["auto", "always", "waitaof", "none"] = Field(
        "auto", description="how POST /events knows that an event is on disk before it answers 202"
    )
    cors_origins: str = Field(
        "", description="whose pages may call the API from a browser, with commas between: https://app.example"
    )
    rate_limit: str = Field("", description="of each API key: 100/second, 6000/minute or 100000/hour; unset: none")
    tenant_rate_limits: str = Field(
        "", description="of the keys of single tenants instead, with commas between: acme=100/second, beta=10/second"
    )
    address_rate_limit: str = Field(
        "600/minute", description="of each address: requests without a valid key or signature"
    )
    trusted_proxies: str = Field(
        "", description="addresses or networks whose X-Forwarded-For says who calls, with commas between: 10.0.0.0/8"
    )
    endpoint_http: bool = Field(False, description="endpoints may have http:// addresses, for development")
    endpoint_networks: str = Field(
        "",
        description="networks or addresses, with commas between, that endpoints may have although they are not global: "
        "10.0.0.0/8",
    )
    goals_most: int | None = Field(None, ge=1, description="how many goals a tenant may have; unset: any number")
    dead_letters_most: int | None = Field(
        None, ge=1, description="how many dead letters of a tenant may wait while POST /events takes its events"
    )
    waiting_most: int | None = Field(
        None,
        ge=1,
        description="how many events of a tenant that POST /events of a process took may wait while it takes more",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("database_url", "listen_url")
    @classmethod
    def _check_postgres_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        scheme, colon, rest = value.get_secret_value().partition("://")
        if not colon or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
            raise ValueError("must be a postgresql:// address")
        _check_host("postgresql", rest)
        return SecretStr(f"postgresql+psycopg://{rest}")

    @field_validator("redis_url")
    @classmethod
    def _check_redis_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("must be a redis:// or rediss:// address")
        if value is not None:
            _check_host("redis", value.get_secret_value().partition("://")[2])
        return value

    @field_validator("data_dir")
    @classmethod
    def _expand_home(cls, value: Path) -> Path:
        """Expand a ~ that no shell has expanded, as in a .env file, to the home folder."""
        return value.expanduser().absolute()

    @field_validator("bootstrap_key")
    @classmethod
    def _check_bootstrap_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not 20 <= len(value.get_secret_value()) <= 200:
            raise ValueError("must have 20 to 200 characters")
        return value

    @field_validator("secrets_key")
    @classmethod
    def _check_secrets_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and any(len(key) < SECRETS_KEY_SHORTEST for key in _split(value)):
            raise ValueError(f"must have at least {SECRETS_KEY_SHORTEST} characters, each of several")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: str) -> str:
        for origin in _listed(value):
            parts = urlsplit(origin)
            if (
                origin != f"{parts.scheme}://{parts.netloc}"
                or parts.scheme not in {"http", "https"}
                or not parts.netloc
            ):
                raise ValueError("must be origins such as https://app.example, without a path, with commas between")
        return value

    @field_validator("rate_limit", "address_rate_limit")
    @classmethod
    def _check_limit(cls, value: str) -> str:
        if value:
            RateLimit.parse(value)
        return value

    @field_validator("tenant_rate_limits")
    @classmethod
    def _check_limits(cls, value: str) -> str:
        for part in _listed(value):
            name, _, limit = part.partition("=")
            if not name.strip():
                raise ValueError("must be limits of tenants such as acme=100/second, with commas between")
            RateLimit.parse(limit)
        return value

    @field_validator("trusted_proxies", "endpoint_networks")
    @classmethod
    def _check_networks(cls, value: str) -> str:
        for part in _listed(value):
            try:
                ip_network(part)
            except ValueError:
                raise ValueError("must be addresses or networks such as 10.0.0.0/8, with commas between") from None
        return value

    @property
    def proxies(self) -> tuple[str, ...]:
        """The addresses and networks of proxies whose X-Forwarded-For counts; none unless they are set."""
        return _listed(self.trusted_proxies)

    @property
    def allowed_networks(self) -> tuple[str, ...]:
        """The networks and addresses that endpoints may have although they are not global; none unless they are set."""
        return _listed(self.endpoint_networks)

    def limit_of(self, tenant: str) -> RateLimit | None:
        """The rate limit of each key of a tenant; None for no limit."""
        own = dict(part.split("=", 1) for part in _listed(self.tenant_rate_limits))
        text = {name.strip(): limit for name, limit in own.items()}.get(tenant, self.rate_limit)
        return RateLimit.parse(text) if text else None

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins whose pages may call the API from a browser; none unless it is set."""
        return _listed(self.cors_origins)

    @property
    def secrets_keys(self) -> tuple[str, ...]:
        """The keys that seal and open the secrets of webhooks; none if the setting is missing."""
        return () if self.secrets_key is None else _split(self.secrets_key)

    @property
    def drain_concurrency(self) -> int:
        """How many drains one worker runs at the same time."""
        return self.drain_processes or self.shards


def load_settings(**overrides: Any) -> Settings:
    """Read the environment once; raises SettingsError with one line that names the bad setting."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None
    _refuse_unknown(os.environ)
    return settings


def _split(keys: SecretStr) -> tuple[str, ...]:
    return tuple(key.strip() for key in keys.get_secret_value().split(","))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _check_host(scheme: str, rest: str) -> None:
    """Refuse a port that is not a number, and an @ in a password: the text after it would be shown as the host."""
    parts = urlsplit(f"{scheme}://{rest}")
    if parts.netloc.count("@") > 1:
        raise ValueError(f"must be a {scheme}:// address in which an @ of the password is written as %40")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"must be a {scheme}:// address whose port is a number up to 65535") from None


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
    return f"{name} {first['msg'].removeprefix('Value error, ')}"


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """Refuse a misspelt setting: to ignore it silently would be worse than not to start."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            raise SettingsError(f"{name} is not a setting of Milepost; there are: {', '.join(sorted(known))}")
