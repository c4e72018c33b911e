"""Where models come from: a folder or a Cloud Storage prefix, copied and verified."""

import re
import shutil
import tempfile
from pathlib import Path

from locked.manifest import MANIFEST, LockedModelError, Manifest, read_manifest, verify

GCS = "gs://"


class ModelStore:
    """Own copies of the models that a server has in use.

    What lies at the source may be changed at any time; the copies stay as they were verified.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        """Keep copies of what `uri` (a folder or a gs:// prefix) holds in `folder`."""
        self.uri = uri.rstrip("/")
        self.folder = folder

    def manifest(self) -> Manifest:
        """Read the manifest at the source, and nothing else.

        Raises:
            LockedModelError: it is missing, malformed or out of reach.

        """
        if not self.uri.startswith(GCS):
            return read_manifest(Path(self.uri) / MANIFEST)
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            return read_manifest(self._download(MANIFEST, Path(name)), self._at(MANIFEST))

    def fetch(self) -> Path:
        """Copy the model at the source unless it is here already; return the copy's folder.

        Raises:
            LockedModelError: a file is missing, altered or out of reach.

        """
        manifest = self.manifest()
        copy = self.folder / manifest.version
        if copy.is_dir():
            return copy
        try:
            with tempfile.TemporaryDirectory(dir=self.folder) as name:
                draft = Path(name) / "draft"
                if self.uri.startswith(GCS):
                    draft.mkdir()
                    for file in (MANIFEST, *manifest.files):
                        self._download(file, draft)
                else:
                    shutil.copytree(self.uri, draft)
                if verify(draft, self.uri) != manifest:
                    raise LockedModelError(f"{self._at(MANIFEST)} was changed meanwhile")
                draft.rename(copy)
        except OSError as error:
            raise LockedModelError(f"{self.uri}: {error}") from error
        return copy

    def named(self, problem: str) -> str:
        """Name the source in a message that names a copy."""
        return re.sub(rf"{re.escape(str(self.folder))}/\w+", lambda _: self.uri, problem)

    def keep(self, folders: set[Path | None]) -> None:
        """Remove all copies but these."""
        for folder in set(self.folder.iterdir()) - folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _at(self, file: str) -> str:
        return f"{self.uri}/{file}"

    def _download(self, file: str, folder: Path) -> Path:
        # Slow to import, and seldom needed.
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import storage

        bucket, _, prefix = self.uri.removeprefix(GCS).partition("/")
        path = folder / file
        try:
            blob = storage.Client().bucket(bucket).blob(f"{prefix}/{file}" if prefix else file)
            blob.download_to_filename(path)
        except (GoogleAPIError, GoogleAuthError, OSError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise LockedModelError(f"{self._at(file)}: {reason}") from error
        return path
