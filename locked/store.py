"""Where models come from: a folder or the prefix of any bucket, copied and verified."""

import re
import shutil
import tempfile
from pathlib import Path

from common.errors import InputError
from common.storage import Folder
from locked.manifest import MANIFEST, LockedModelError, Manifest, parse_manifest, verify


class ModelStore:
    """Own copies of the models that a server has in use.

    The files at the source may change at any time; the copies stay as they were verified.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        """Copy models from `uri`, a path or an fsspec URL, to subfolders of `folder`."""
        self.uri = uri.rstrip("/") or uri
        self.folder = folder

    def manifest(self) -> Manifest:
        """Read the manifest at the source, and no other file.

        Raises LockedModelError if it is missing, malformed or out of reach.
        """
        return parse_manifest(self._manifest_content(), f"{self.uri}/{MANIFEST}")

    def fetch(self) -> Path:
        """Copy the model at the source unless its copy exists; return the copy's folder.

        Only the files that the manifest names are read.

        Raises LockedModelError if a file is missing, altered or out of reach.
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
                source = Folder(self.uri)  # one each time: a forked process cannot share it
                for file in manifest.files:
                    source.download(file, draft / file)
                verify(draft, self.uri)
                draft.rename(copy)
            except (InputError, OSError) as error:
                raise LockedModelError(str(error)) from error
        return copy

    def named(self, problem: str) -> str:
        """Return a message with the source's name in place of a copy's path."""
        return re.sub(rf"{re.escape(str(self.folder))}/\w+", lambda _: self.uri, problem)

    def keep(self, folders: set[Path | None]) -> None:
        """Remove all copies but these."""
        for folder in set(self.folder.iterdir()) - folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _manifest_content(self) -> bytes:
        try:
            content = Folder(self.uri).read(MANIFEST)
        except InputError as error:
            raise LockedModelError(str(error)) from error
        if content is None:
            raise LockedModelError(f"{self.uri}/{MANIFEST} is missing: no locked model here")
        return content
