"""Check the DVC remote on Google Cloud Storage: settings, login, permissions, contents.

    python -m deploy.doctor

It prints a line for each check. If a check fails, it prints the most likely remedy and stops.
"""

import argparse
import base64
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google.auth
from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from google.auth.transport.requests import Request
from google.cloud import storage

from common.errors import InputError, run
from deploy.google import REMOTE_COMMANDS

SCOPES = ["https://www.googleapis.com/auth/devstorage.full_control"]  # the scope that DVC requests
PERMISSIONS = [f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list")]
SET_REMOTE = " && ".join(REMOTE_COMMANDS).format(bucket="YOUR-BUCKET")
LOGIN = (
    "gcloud auth application-default login (DVC would continue without a login); behind a proxy "
    "set HTTPS_PROXY, REQUESTS_CA_BUNDLE and SSL_CERT_FILE"
)
GRANT = (
    "gcloud storage buckets add-iam-policy-binding gs://{bucket} --member=user:YOU "
    "--role=roles/storage.objectUser; if the bucket does not exist: "
    "gcloud storage buckets create gs://{bucket}"
)


def examine(folder: Path) -> Iterator[str]:
    """Yield a line for each check; if a check fails, raise InputError with a remedy."""
    with _suggest(SET_REMOTE):
        repo = Repo(folder)
        config, bucket_name = _read_remote(repo)
    yield f"remote       {config['url']}"
    with _suggest(LOGIN):
        credentials = _log_in(config)
    yield f"login        {getattr(credentials, 'service_account_email', 'a user')}"
    bucket = storage.Client(None, credentials).bucket(bucket_name)
    with _suggest(GRANT.format(bucket=bucket_name)):
        granted = bucket.test_iam_permissions(PERMISSIONS, timeout=10, retry=None)
        if missing := sorted(set(PERMISSIONS) - set(granted)):
            raise InputError(f"{bucket_name} does not grant {', '.join(missing)}")
    yield f"permissions  {', '.join(PERMISSIONS)}"
    with _suggest("dvc push"):
        faults, pending = _compare(repo, bucket)
    if faults:
        # `dvc push` skips a folder if the object with its list of files exists: remove that too.
        objects = sorted({url for urls in faults.values() for url in urls})
        remedy = f"gcloud storage rm {' '.join(objects)}; dvc push"
        raise InputError(f"{'; '.join(faults)}\ntry, in a clone with these files: {remedy}")
    yield f"contents     complete, except {pending} outputs that are not pushed yet"


@contextmanager
def _suggest(remedy: str) -> Iterator[None]:
    """Turn an error of DVC or Google into an InputError with the most likely remedy."""
    try:
        yield
    except Exception as error:  # they raise exceptions of many kinds
        message = error.args[0] if error.args and not isinstance(error, OSError) else error
        raise InputError(f"{' '.join(str(message).split())[:300]}\ntry: {remedy}") from error


def _read_remote(repo: Repo) -> tuple[dict[str, Any], str]:
    """Return the settings of the default remote, and the name of its bucket."""
    name = repo.config["core"].get("remote", "")
    if name not in repo.config["remote"]:
        raise InputError(f"there is no remote {name}".strip())
    config = dict(repo.config["remote"][name])
    if not (match := re.match(r"gs://([^/]+)", str(config["url"]))) or not config.get("verify"):
        raise InputError(f"{config['url']} is no gs:// URL with `verify true`")
    return config, match[1]


def _log_in(config: dict[str, Any]) -> Any:  # noqa: ANN401 - credentials of several kinds
    """Return the credentials that DVC would use, after exchanging them for a token."""
    path, load = config.get("credentialpath"), google.auth.load_credentials_from_file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about quota projects, which buckets do not need
        credentials, _ = load(path, SCOPES) if path else google.auth.default(SCOPES)
    credentials.refresh(Request())
    return credentials


def _compare(repo: Repo, bucket: storage.Bucket) -> tuple[dict[str, set[str]], int]:
    """Compare a bucket's objects with the outputs of a workspace.

    Return the faults, each with the objects to remove, and the number of outputs to push.
    """
    odb = repo.cloud.get_remote_odb()
    prefix = odb.path.removeprefix(f"{bucket.name}/")
    md5s = {
        f"{bucket.name}/{blob.name}": blob.md5_hash for blob in bucket.list_blobs(prefix=prefix)
    }

    def find_fault(oid: HashInfo) -> str:
        if (path := odb.oid_to_path(oid.value)) not in md5s:
            return "missing"
        md5 = base64.b64encode(bytes.fromhex(oid.value.removesuffix(".dir"))).decode()
        return "" if md5s[path] in (md5, None) else "altered"  # None: composed of parts

    faults: dict[str, set[str]] = {}
    pending = 0
    for out in repo.index.outs:
        # A file imported from another repository is pushed there.
        if not (out.use_cache and out.can_push and out.hash_info) or out.stage.is_repo_import:
            continue
        root = odb.oid_to_path(out.hash_info.value)
        parts = {str(out): out.hash_info}
        if find_fault(out.hash_info) == "missing":
            pending, parts = pending + 1, {}
        elif out.is_dir_checksum and not find_fault(out.hash_info):
            content = bucket.blob(root.removeprefix(f"{bucket.name}/")).download_as_bytes()
            for key, _, oid in Tree.from_list(json.loads(content), "md5"):
                parts["/".join((str(out), *key))] = oid
        for name, oid in parts.items():
            if find_fault(oid):
                urls = {
                    f"gs://{path}" for path in (root, odb.oid_to_path(oid.value)) if path in md5s
                }
                faults[f"{name} is {find_fault(oid)}"] = urls
    return faults, pending


def main() -> None:
    """Print a line for each check."""
    parser = argparse.ArgumentParser(prog="python -m deploy.doctor", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.parse_args()
    for line in examine(Path.cwd()):
        print(f"ok  {line}", flush=True)


if __name__ == "__main__":
    run(main)
