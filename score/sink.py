"""Where answers go: a folder or a Cloud Storage prefix; a file is whole there, or not there."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from common.errors import InputError
from locked.store import GCS


class Sink(Protocol):
    """A place of named files."""

    uri: str

    def put(self, name: str, content: bytes) -> None:
        """Write a file at once; where it is already, it has the same content or is replaced.

        Raises:
            InputError: it cannot be written, or is there with other content and is not replaced.

        """

    def get(self, name: str) -> bytes | None:
        """Return a file's content, None where there is none."""

    def names(self, folder: str) -> set[str]:
        """Return the names of the files in a folder."""


def sink(uri: str) -> Sink:
    """Return the place that a path or a gs:// prefix names."""
    return Bucket(uri) if uri.startswith(GCS) else Folder(Path(uri).expanduser())


class Folder:
    """A folder of this machine, or of several that share it."""

    def __init__(self, path: Path) -> None:
        self.path, self.uri = path, str(path)

    def put(self, name: str, content: bytes) -> None:
        """Write, sync, rename."""
        path = self.path / name
        # Two processes may write the same block at once.
        draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; what is done is kept") from error
        finally:
            draft.unlink(missing_ok=True)

    def get(self, name: str) -> bytes | None:
        """Read a file."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> set[str]:
        """List a folder; drafts that a killed process left are not of it."""
        try:
            return {p.name for p in (self.path / folder).iterdir() if p.name[0] != "."}
        except FileNotFoundError:
            return set()


class Bucket:
    """A prefix in Cloud Storage."""

    def __init__(self, uri: str) -> None:
        from google.cloud import storage

        name, _, prefix = uri.removeprefix(GCS).partition("/")
        self.uri, self.prefix = uri.rstrip("/"), f"{prefix.rstrip('/')}/" if prefix else ""
        with self._reaching():
            self.bucket: Any = storage.Client().bucket(name)

    def put(self, name: str, content: bytes) -> None:
        """Upload, where it is not there yet: else another has written it, and it is the same.

        With that condition the library tries again what failed.
        """
        from google.api_core.exceptions import PreconditionFailed

        blob = self.bucket.blob(f"{self.prefix}{name}")
        with self._reaching("; what is done is kept"):
            try:
                blob.upload_from_string(
                    content, content_type="application/octet-stream", if_generation_match=0
                )
            except PreconditionFailed as error:
                if self.get(name) != content:
                    raise InputError(
                        f"{self.uri}/{name} is there with other content, as another kind of CPU "
                        "or other packages make it; go on where the run was begun, or name a new "
                        "folder"
                    ) from error

    def get(self, name: str) -> bytes | None:
        """Download a file."""
        from google.api_core.exceptions import NotFound

        with self._reaching():
            try:
                content: bytes = self.bucket.blob(f"{self.prefix}{name}").download_as_bytes()
            except NotFound:
                return None
        return content

    def names(self, folder: str) -> set[str]:
        """List a folder."""
        with self._reaching():
            listed = self.bucket.client.list_blobs(self.bucket, prefix=f"{self.prefix}{folder}/")
            return {blob.name.rpartition("/")[2] for blob in listed}

    @contextmanager
    def _reaching(self, kept: str = "") -> Iterator[None]:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        try:
            yield
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            raise InputError(f"{self.uri}: {error}{kept}") from error
