"""Examine the DVC remote on Google Cloud Storage: settings, login, permissions, contents.

    python -m deploy.check.doctor [--repair]

Each line is what DVC or Google answers; a failure is followed by the remedy that most likely helps.
"""

import argparse
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google.auth
from dvc.exceptions import DvcException
from dvc.repo import Repo
from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud import storage
from scmrepo.exceptions import SCMError

from common.errors import InputError
from deploy.check.contents import Contents
from deploy.google import NAMING

SCOPES = ["https://www.googleapis.com/auth/devstorage.full_control"]  # as DVC asks
NEEDED = [f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list")]
NOBODY = "DVC would continue without a login (anonymously)"
NAME_IT = " && ".join(NAMING).format(bucket="YOUR-BUCKET")
LOGIN = "gcloud auth application-default login"
GRANT = (
    "gcloud storage buckets add-iam-policy-binding gs://{bucket} --member={member} "
    "--role=roles/storage.objectUser; if the bucket does not exist: "
    "gcloud storage buckets create gs://{bucket}"
)
REPAIR = "python -m deploy.check.doctor --repair, where they are in the cache"


@dataclass
class Case:
    """A remote under examination, and what earlier checks have found out."""

    folder: Path
    repair: bool = False
    remote: str = ""
    bucket: str = "YOUR-BUCKET"
    config: dict[str, Any] = field(default_factory=dict)
    credentials: Any = field(default_factory=AnonymousCredentials)
    project: str | None = None
    member: str = "user:YOU"

    def client(self) -> storage.Client:
        """Return a client with the server and the login that DVC uses."""
        url = self.config.get("endpointurl")
        options = {"api_endpoint": url} if url else None
        return storage.Client(self.project, self.credentials, client_options=options)


def remote(case: Case) -> str:
    """Read the remote from DVC's configuration."""
    config = Repo(case.folder).config
    case.remote = config["core"].get("remote", "")
    if case.remote not in config["remote"]:
        raise InputError(f"there is no remote {case.remote}".strip())
    case.config = dict(config["remote"][case.remote])
    url = str(case.config["url"])
    if not (bucket := re.match(r"gs://([^/]+)", url)):
        raise InputError(f"{url} is no bucket of Google Cloud Storage")
    if not case.config.get("verify"):
        raise InputError(f"{url} has no `verify true`: DVC would accept altered objects")
    case.bucket = bucket[1]
    return url


def login(case: Case) -> str:
    """Find the credentials that DVC would find, and exchange them for a token."""
    if case.config.get("allow_anonymous_login"):
        return "none, as the remote's allow_anonymous_login says"
    path = case.config.get("credentialpath")
    load = google.auth.load_credentials_from_file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on quota projects, which buckets do without
            case.credentials, case.project = (
                load(path, SCOPES) if path else google.auth.default(SCOPES)
            )
    except Exception as error:  # a file that is no key raises exceptions of many kinds
        raise InputError(f"{words(error)}; {NOBODY}") from None
    case.credentials.refresh(Request())
    if account := getattr(case.credentials, "service_account_email", ""):
        case.member = f"serviceAccount:{account}"
    source = (case.credentials.get_cred_info() or {}).get("credential_source", "this machine")
    return f"{account or 'a user'}, from {path or source}"


def permissions(case: Case) -> str:
    """Ask the bucket what this login may do with its objects."""
    bucket = case.client().bucket(case.bucket)
    granted = bucket.test_iam_permissions(NEEDED, timeout=10, retry=None)
    if lacking := sorted(set(NEEDED) - set(granted)):
        raise InputError(f"{case.bucket} does not grant {', '.join(lacking)}")
    return f"{case.bucket} grants create, delete, get and list"


def contents(case: Case) -> str:
    """Compare the bucket's objects with DVC's files, and send lost ones again if asked to."""
    bucket = case.client().bucket(case.bucket)
    examined = Contents(case.folder, case.remote, bucket)
    sent = examined.send_again() if case.repair and examined.faults else 0
    if sent:
        examined = Contents(case.folder, case.remote, bucket)
    message = f"{sent} objects sent again; now {examined}" if sent else str(examined)
    if examined.faults:
        raise InputError(message)
    return message


CHECKS: dict[Callable[[Case], str], str] = {  # each with the remedy that most likely helps
    remote: NAME_IT,
    login: f"{LOGIN}; behind a proxy set HTTPS_PROXY, REQUESTS_CA_BUNDLE and SSL_CERT_FILE",
    permissions: GRANT,
    contents: REPAIR,
}


def examine(case: Case) -> Iterator[tuple[str, str, str]]:
    """Yield for each check its name, its message, and the remedy if it failed."""
    remedy = ""
    for check, likely_remedy in CHECKS.items():
        if remedy:
            yield check.__name__, "not checked", ""
            continue
        try:
            message = check(case)
        except (
            *(InputError, DvcException, SCMError, GoogleAPICallError, GoogleAuthError, OSError),
        ) as error:
            message = words(error)
            remedy = likely_remedy.format(**vars(case))
            if check is contents and case.repair:
                remedy = "repair from where they were pushed: this cache lacks them"
        yield check.__name__, message, remedy


def words(error: Exception) -> str:
    """Return an error's message in one line."""
    message = error.args[0] if error.args and not isinstance(error, OSError) else error
    return " ".join(str(message).split())[:300]


def main() -> None:
    """Print a line for each check, and exit with 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.check.doctor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--repair", action="store_true", help="send lost objects again from the cache"
    )
    failed = False
    for name, message, remedy in examine(Case(Path.cwd(), parser.parse_args().repair)):
        mark = "FAIL" if remedy else "-" if message == "not checked" else "ok"
        print(f"{mark:4}  {name:11}  {message}", flush=True)
        if remedy:
            print(f"      {'':11}  try: {remedy}", flush=True)
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
