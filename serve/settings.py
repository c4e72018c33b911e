"""The server's settings, from the environment or from mounted secrets."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from locked.engines import Name

SECRETS_DIR = "SECRETS_DIR"  # a folder with a file for each secret, named after its variable


def _split(text: object) -> object:
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


def _clean(text: object) -> object:
    # An editor's byte order mark and last newline are no part of a key.
    return text.strip("\ufeff \t\r\n") if isinstance(text, str) else text


def _bind(host: object) -> object:
    # Conda's compilers export HOST too, as the kind of machine that they compile for.
    foreign = isinstance(host, str) and re.search(r"-conda-linux-gnu$|-apple-darwin[\d.]*$", host)
    return "127.0.0.1" if foreign else host


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


def _long_enough(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value()) < 16:
        raise ValueError("a key has 16 characters or more")
    return key


def _no_file(place: str) -> str:
    if Path(place).is_file():
        raise ValueError("this is a file; name a folder")
    return place


Host = Literal["127.0.0.1", "0.0.0.0", "::"]  # noqa: S104 - a container's choice
Port = Annotated[int, Field(ge=1024, le=65535)]
Route = Annotated[str, Field(pattern="^/")]
Prefix = Annotated[str, StringConstraints(pattern=r"^(/[\w.~-]+)*$")]
Key = Annotated[SecretStr, BeforeValidator(_clean), AfterValidator(_long_enough)]
Level = Literal["debug", "info", "warning", "error"]
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[^/]+$")]


class Settings(BaseSettings):
    """Each field is read from the environment variable of its name, or from Vertex AI's own."""

    model_config = SettingsConfigDict(frozen=True, loc_by_alias=False)

    @model_validator(mode="before")
    @classmethod
    def _strip(cls, given: dict[str, object]) -> dict[str, object]:
        # a mounted file may begin with a byte order mark and end with a newline
        return {
            name: value.strip("\ufeff\r\n") if isinstance(value, str) else value
            for name, value in given.items()
        }

    host: Annotated[Host, BeforeValidator(_bind)] = "127.0.0.1"
    port: Port = Field(default=8080, validation_alias=AliasChoices("AIP_HTTP_PORT", "PORT"))
    predict_route: Route = Field(
        default="/predict", validation_alias=AliasChoices("AIP_PREDICT_ROUTE", "PREDICT_ROUTE")
    )
    health_route: Route = Field(
        default="/health", validation_alias=AliasChoices("AIP_HEALTH_ROUTE", "HEALTH_ROUTE")
    )
    model_uri: Annotated[str, Field(min_length=1)] = "models/classifier"
    model_poll: Annotated[float, Field(ge=0)] = 0  # seconds; 0 never looks
    workers: Annotated[int, Field(ge=1)] = 1
    threads: Annotated[int, Field(ge=0)] = 0  # of a worker; 0 takes its share of the CPUs
    # None is the faster one here, and so is an empty variable
    engine: Annotated[Name | None, BeforeValidator(lambda name: name or None)] = None
    max_queue: Annotated[int, Field(ge=1)] = 2000  # tweets
    request_timeout: Annotated[float, Field(gt=0)] = 10  # seconds
    # Seconds without a request: longer than the proxies in front keep theirs (Google's 600), which
    # would else send into a connection that is just being closed, and answer 502.
    keep_alive: Annotated[int, Field(ge=1)] = 620
    root_path: Prefix = ""  # what a proxy puts before every path
    api_keys: Annotated[tuple[Key, ...], NoDecode, BeforeValidator(_split)] = ()
    admin_key: Key | None = None
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)] = ()
    feedback_file: Path = Path("data/feedback.jsonl")  # or "stdout"
    # a folder, or "stdout"; "" writes none
    prediction_log: Annotated[str, AfterValidator(_no_file)] = ""
    prediction_log_rate: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the tweets
    log_text: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of its lines with the text
    prediction_log_key: Key | None = None  # of the hash that tells duplicates
    log_level: Annotated[Level, BeforeValidator(_lower)] = "info"
    google_cloud_project: str | None = None  # for the links from logs to traces


class BadSettingError(Exception):
    """A setting is wrong; the message names its variable."""


def load() -> Settings:
    """Read and check the settings.

    Raises:
        BadSettingError: naming the environment variable that is wrong.

    """
    secrets = os.environ.get(SECRETS_DIR)
    if secrets and not Path(secrets).is_dir():
        raise BadSettingError(f"{SECRETS_DIR}: {secrets} is not a folder")
    try:
        return Settings(_secrets_dir=secrets)  # type: ignore[call-arg] # the rest is read
    except SettingsError as error:
        raise BadSettingError(str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        alias = Settings.model_fields[field].validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [field.upper()]
        name = next((name for name in names if name in os.environ), names[-1])
        # A secret is not repeated, not even a wrong one.
        given = "" if field.endswith(("key", "keys")) else f" (got {first['input']!r})"
        raise BadSettingError(f"{name}: {first['msg']}{given}") from error
