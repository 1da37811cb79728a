"""`milepost migrate`: the schema, and the first tenant and key."""

from __future__ import annotations

from core.errors import MilepostError
from core.settings import load_settings
from milepost.cli.connection import DataDirOption, connected_settings
from milepost.embedded.supervisor import prepare_database


def migrate(data_dir: DataDirOption = None) -> None:
    """Bring the schema up to date and make the tenant `default`, with MILEPOST_BOOTSTRAP_KEY if that is set."""
    settings = load_settings(data_dir=data_dir)
    if settings.database_url is None:
        settings = connected_settings(data_dir)
    if settings.database_url is None:
        raise MilepostError("the settings name no database")
    key = settings.bootstrap_key.get_secret_value() if settings.bootstrap_key is not None else None
    prepare_database(settings.database_url.get_secret_value(), key)
    print("the schema is up to date")
