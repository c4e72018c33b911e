"""A remote under examination, and what its checks have found so far."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage


@dataclass
class Case:
    """What the checks have found so far."""

    folder: Path
    repair: bool = False
    remote: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    bucket: str = ""
    prefix: str = ""
    seconds_ahead: float = 0
    credentials: Any = field(default_factory=AnonymousCredentials)
    project: str | None = None
    member: str = "user:YOU"
    found: str = ""  # an object to read
    probe: bytes = field(default_factory=lambda: secrets.token_hex(8).encode())
    written: bool = False

    def client(self) -> storage.Client:
        """Return a client that asks where DVC asks, and as whom."""
        url = self.config.get("endpointurl")
        options = {"api_endpoint": url} if url else None
        return storage.Client(self.project, self.credentials, client_options=options)

    def blob(self, name: str = "") -> storage.Blob:
        """Return the object of that name, or the one that is there for the checks alone."""
        own = f"{self.prefix}/.doctor-{self.probe.decode()}".lstrip("/")
        return self.client().bucket(self.bucket).blob(name or own)
