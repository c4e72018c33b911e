"""The server's settings, from the environment."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1024, le=65535)]
Route = Annotated[str, Field(pattern="^/")]


class Settings(BaseSettings):
    """Each field is read from the environment variable of its name, or from Vertex AI's own."""

    model_config = SettingsConfigDict(frozen=True, loc_by_alias=False)

    host: Literal["127.0.0.1", "0.0.0.0", "::"] = "127.0.0.1"  # noqa: S104 - a container's choice
    port: Port = Field(default=8080, validation_alias=AliasChoices("AIP_HTTP_PORT", "PORT"))
    predict_route: Route = Field(
        default="/predict", validation_alias=AliasChoices("AIP_PREDICT_ROUTE", "PREDICT_ROUTE")
    )
    health_route: Route = Field(
        default="/health", validation_alias=AliasChoices("AIP_HEALTH_ROUTE", "HEALTH_ROUTE")
    )
    model_uri: Path = Path("models/classifier")


class SettingsError(Exception):
    """A setting is wrong; the message names its variable."""


def load() -> Settings:
    """Read and check the settings.

    Raises:
        SettingsError: naming the environment variable that is wrong.

    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        alias = Settings.model_fields[field].validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [field.upper()]
        name = next((name for name in names if name in os.environ), names[-1])
        raise SettingsError(f"{name}: {first['msg']} (got {first['input']!r})") from error
