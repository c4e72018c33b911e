"""Checks whether DVC can use its remote on Google Cloud Storage: settings, login, permissions."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google.auth
from dvc.repo import Repo
from google.auth.transport.requests import Request
from google.cloud import storage

from common.errors import InputError
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
    with _suggest(SET_REMOTE), Repo(folder) as repo:
        config = repo.config["remote"].get(repo.config["core"].get("remote"), {})
        match = re.match(r"gs://([^/]+)", str(config.get("url")))
        if not match or not config.get("verify"):
            raise InputError("the default remote is no gs:// URL with `verify true`")
    yield f"remote       {config['url']}"
    with _suggest(LOGIN):
        credentials = _log_in(config.get("credentialpath"))
    yield f"login        {getattr(credentials, 'service_account_email', 'a user')}"
    with _suggest(GRANT.format(bucket=match[1])):
        bucket = storage.Client(None, credentials).bucket(match[1])
        granted = bucket.test_iam_permissions(PERMISSIONS, timeout=10, retry=None)
        if missing := sorted(set(PERMISSIONS) - set(granted)):
            raise InputError(f"{bucket.name} does not grant {', '.join(missing)}")
    yield f"permissions  {', '.join(PERMISSIONS)}"


@contextmanager
def _suggest(remedy: str) -> Iterator[None]:
    """Turn an error of DVC or Google into an InputError with the most likely remedy."""
    try:
        yield
    except Exception as error:  # they raise exceptions of many kinds
        message = error.args[0] if error.args and not isinstance(error, OSError) else error
        raise InputError(f"{' '.join(str(message).split())[:300]}\ntry: {remedy}") from error


def _log_in(key_file: str | None) -> Any:  # noqa: ANN401 - credentials of several kinds
    """Return the credentials that DVC would use, after exchanging them for a token."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about quota projects, which buckets do not need
        if key_file:
            credentials, _ = google.auth.load_credentials_from_file(key_file, SCOPES)
        else:
            credentials, _ = google.auth.default(SCOPES)
    credentials.refresh(Request())
    return credentials
