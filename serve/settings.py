"""The server's settings, from the environment."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1024, le=65535)]
Route = Annotated[str, Field(pattern="^/")]


class Settings(BaseSettings):
    """Each field is read from the environment variable of its name, or from Vertex AI's own."""

    model_config = SettingsConfigDict(frozen=True)

    host: Literal["127.0.0.1", "0.0.0.0", "::"] = "127.0.0.1"  # noqa: S104 - a container's choice
    port: Port = Field(default=8080, validation_alias=AliasChoices("AIP_HTTP_PORT", "PORT"))
    predict_route: Route = Field(default="/predict", validation_alias="AIP_PREDICT_ROUTE")
    health_route: Route = Field(default="/health", validation_alias="AIP_HEALTH_ROUTE")
    model_uri: Path = Path("models/classifier")
