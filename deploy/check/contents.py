"""What a DVC remote on Google Cloud Storage holds, beside what DVC's files name.

DVC takes a folder for whole as soon as its list of files is there; here each object is looked at.
"""

import base64
import hashlib
import json
from pathlib import Path

from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from google.cloud import storage


class Contents:
    """What is right and wrong with the objects of the outputs of a workspace."""

    def __init__(self, folder: Path, remote: str, bucket: storage.Bucket) -> None:
        """Compare each output, and each file of one that is a folder."""
        self.repo = Repo(folder)
        self.bucket = bucket
        self.odb = self.repo.cloud.get_remote_odb(remote)
        within = self.odb.path.removeprefix(f"{bucket.name}/")
        self.held = {blob.name: blob.md5_hash for blob in bucket.list_blobs(prefix=within)}
        outs = [o for o in self.repo.index.outs if o.use_cache and o.can_push and o.hash_info]
        outs = [out for out in outs if not out.stage.is_repo_import]  # pushed where they come from
        pushed = [out for out in outs if self._fault(out.hash_info) != "missing"]
        self.outputs = len(outs)
        self.later = len(outs) - len(pushed)
        self.faults: dict[str, HashInfo] = {}
        for out in pushed:
            parts = {str(out): out.hash_info}
            if out.is_dir_checksum and not self._fault(out.hash_info):
                listed = json.loads(self._blob(out.hash_info).download_as_bytes())
                for key, _, oid in Tree.from_list(listed, "md5"):
                    parts["/".join((str(out), *key))] = oid
            for name, oid in parts.items():
                if fault := self._fault(oid):
                    self.faults[f"{name} is {fault}"] = oid

    def send_again(self) -> int:
        """Send what is missing or altered, as far as the cache has it; return how many objects."""
        cache = self.repo.cache.local
        paths = {oid: Path(cache.oid_to_path(oid.value)) for oid in set(self.faults.values())}
        # DVC's own look takes a file in the cache for good if it cannot be written.
        good = [oid for oid, path in paths.items() if path.exists() and _md5(path) == _hex(oid)]
        for oid in good:
            self._blob(oid).upload_from_filename(paths[oid])
        return len(good)

    def __str__(self) -> str:
        """Say it in a line."""
        if self.faults:
            names = list(self.faults)
            more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
            return "; ".join(names[:3]) + more
        if self.later:
            return f"whole; {self.later} of {self.outputs} outputs not pushed yet"
        return "whole"

    def _blob(self, oid: HashInfo) -> storage.Blob:
        return self.bucket.blob(self._name(oid))

    def _name(self, oid: HashInfo) -> str:
        path: str = self.odb.oid_to_path(oid.value)
        return path.removeprefix(f"{self.bucket.name}/")

    def _fault(self, oid: HashInfo) -> str:
        if self._name(oid) not in self.held:
            return "missing"
        md5 = base64.b64encode(bytes.fromhex(_hex(oid))).decode()
        held = self.held[self._name(oid)]
        return "" if held in (md5, None) else "altered"  # no MD5: composed of parts


def _hex(oid: HashInfo) -> str:
    return str(oid.value).removesuffix(".dir")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
