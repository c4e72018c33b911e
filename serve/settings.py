"""The server's settings, from the environment or from mounted secrets."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from locked.engines import Name

SECRETS_DIR = "SECRETS_DIR"  # a folder with a file for each secret, named as its variable
STDOUT = "stdout"


def _strip(value: Any) -> Any:  # noqa: ANN401 - whatever a variable or a file holds
    """Remove blanks, a byte order mark and quotes, which `docker --env-file` keeps."""
    return value.strip("\ufeff \t\r\n\"'") if isinstance(value, str) else value


def _split(value: str) -> list[str]:
    return [part for part in map(_strip, value.split(",")) if part]


def _check_key(key: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]{16,}", key.get_secret_value()):  # it must fit in an HTTP header
        raise ValueError("a key needs 16 ASCII characters or more, and no blanks")
    return key


Host = Literal["127.0.0.1", "0.0.0.0", "::"]  # noqa: S104 - a container's choice
Port = Annotated[int, Field(ge=1024, le=65535)]
Key = Annotated[SecretStr, AfterValidator(_check_key)]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)]
Share = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseSettings):
    """Each field is read from the environment variable of its name."""

    model_config = SettingsConfigDict(frozen=True, loc_by_alias=False, validate_default=False)

    host: Host = "127.0.0.1"
    port: Port = 8080
    model_uri: Annotated[str, Field(min_length=1)] = "models/classifier"
    workers: Annotated[int, Field(ge=1)] = 1
    threads: Annotated[int, Field(ge=0)] = 0  # of a worker; 0 takes its share of the CPUs
    engine: Name | None = None  # None is the faster one on this machine
    max_queue: Annotated[int, Field(ge=1)] = 2000  # tweets
    request_timeout: Annotated[float, Field(gt=0)] = 10  # seconds
    api_keys: Annotated[tuple[Key, ...], NoDecode, BeforeValidator(_split)] = ()
    admin_key: Key | None = None
    feedback_file: str = "data/feedback.jsonl"  # or "stdout"
    prediction_log: str = ""  # a folder, or "stdout"; "" writes none
    prediction_log_rate: Annotated[Share, Field(gt=0)] = 1.0  # share of the tweets
    log_text: Share = 0.0  # share of the log's lines with the text
    prediction_log_key: Key | None = None  # of the hash that identifies duplicates
    log_level: Level = "info"

    @model_validator(mode="before")
    @classmethod
    def _strip_all(cls, values: dict[str, object]) -> dict[str, object]:
        values = {name: _strip(value) for name, value in values.items()}
        for name in ("api_keys", "admin_key"):  # an empty key would allow everybody
            if name in values and not _split(str(values[name])):
                raise ValueError(f"{name.upper()}: is empty. Remove the variable, or give a key")
        return {name: value for name, value in values.items() if value != ""}  # as if unset


class BadSettingError(Exception):
    """A setting is wrong; the message names its variable."""


def load() -> Settings:
    """Return the settings of the environment and of SECRETS_DIR.

    Raises:
        BadSettingError: a setting is wrong; the message names its variable.

    """
    secrets = _strip(os.environ.get(SECRETS_DIR))
    if secrets and not Path(secrets).is_dir():
        raise BadSettingError(f"{SECRETS_DIR}: {secrets} is not a folder")
    try:
        return Settings(_secrets_dir=secrets)  # type: ignore[call-arg] # the rest is read
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise BadSettingError(first["msg"].removeprefix("Value error, ")) from error
        field = str(first["loc"][0])
        # A secret is not repeated, not even a wrong one.
        value = "" if field.endswith(("key", "keys")) else f" (got {first['input']!r})"
        raise BadSettingError(f"{field.upper()}: {first['msg']}{value}") from error
