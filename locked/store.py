"""Copies locked models from a folder or bucket, and verifies them."""

import re
import shutil
import tempfile
from pathlib import Path

from common.errors import InputError
from common.storage import Folder
from locked.manifest import MANIFEST, LockedModelError, Manifest, parse_manifest, verify


class ModelStore:
    """Local copies of the models that a server uses.

    The files at the source may change at any time; the copies stay as they were verified.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        """Set the source `uri`, a path or an fsspec URL, and the `folder` that gets the copies."""
        self.uri = uri.rstrip("/") or uri
        self.folder = folder

    def manifest(self) -> Manifest:
        """Return the manifest at the source, without reading other files.

        Raises LockedModelError if it is missing, malformed or unreachable.
        """
        return parse_manifest(self._manifest_content(), f"{self.uri}/{MANIFEST}")

    def fetch(self) -> Path:
        """Return the folder of a verified copy of the model at the source; copy it if necessary.

        Only the files that the manifest lists are read.

        Raises LockedModelError if a file is missing, altered or unreachable.
        """
        content = self._manifest_content()
        manifest = parse_manifest(content, f"{self.uri}/{MANIFEST}")
        copy = self.folder / manifest.version
        if copy.is_dir():
            return copy
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            (draft := Path(name) / "draft").mkdir()
            (draft / MANIFEST).write_bytes(content)
            try:
                source = Folder(self.uri)  # not kept: forked processes cannot share it
                for file in manifest.files:
                    source.download(file, draft / file)
                verify(draft, self.uri)
                draft.rename(copy)
            except (InputError, OSError) as error:
                is_full = "No space left" in str(error)
                advice = f" in {self.folder}. Set TMPDIR to a larger folder" if is_full else ""
                raise LockedModelError(f"{error}{advice}") from error
        return copy

    def named(self, problem: str) -> str:
        """Return a message with the source's name in place of a copy's path."""
        return re.sub(rf"{re.escape(str(self.folder))}/\w+", lambda _: self.uri, problem)

    def keep(self, folder: Path) -> None:
        """Remove all copies except `folder`."""
        for other in set(self.folder.iterdir()) - {folder}:
            shutil.rmtree(other, ignore_errors=True)

    def _manifest_content(self) -> bytes:
        try:
            content = Folder(self.uri).read(MANIFEST)
        except InputError as error:
            raise LockedModelError(str(error)) from error
        if content is None:
            raise LockedModelError(f"{self.uri}/{MANIFEST} is missing: no locked model here")
        return content
