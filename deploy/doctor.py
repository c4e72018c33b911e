"""Say whether the DVC remote on Google Cloud Storage can be used and is whole, and if not, why.

python -m deploy.doctor [--repair]
"""

import argparse
import base64
import json
import re
import secrets
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import google.auth
from dvc.config import ConfigError
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.auth import jwt
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud import storage

MAX_SKEW = 300  # seconds; Google refuses keys' signatures from clocks further off
ONCE: dict[str, Any] = {"retry": None, "timeout": 10}
SCOPES = ["https://www.googleapis.com/auth/devstorage.full_control"]  # as DVC asks
NOBODY = "DVC would go on as nobody (anonymous)"
CLOCK = "sudo timedatectl set-ntp true"
LOGIN = "gcloud auth application-default login"
QUOTA = "gcloud auth application-default set-quota-project YOUR-PROJECT"
PLACE = "dvc remote modify --local {remote} url gs://YOUR-BUCKET/dvc"

# What Google's libraries and servers say, and what helps; the first that matches counts.
FIXES = {
    r"reasonable timeframe": CLOCK,
    r"Invalid JWT Signature|account not found": f"make another key, or use your own: {LOGIN}",
    r"invalid_grant|reauth|Reauth|Invalid Credentials|Anonymous caller": LOGIN,
    r"certificate (has expired|is not yet valid)": CLOCK,
    r"CERTIFICATE_VERIFY_FAILED": "name your proxy's: export REQUESTS_CA_BUNDLE=FILE",
    r"ProxyError": "correct or unset HTTPS_PROXY",
    r"resolve|establish|timed out|onnection": "connect, or name your proxy in HTTPS_PROXY",
    r"permission to use project|serviceusage": QUOTA,
    r"billing account": "enable billing for the bucket's project in the Cloud console",
    r"requester pays": "gcloud storage buckets update gs://{bucket} --no-requester-pays",
    r"scope": "gcloud compute instances set-service-account VM --scopes=cloud-platform",
    r"retention|hold": "none needed to push and pull; `dvc gc --cloud` cannot work",
    r"storage\.(objects|buckets)\.\w+": "gcloud storage buckets add-iam-policy-binding gs://{bucket}"
    " --member={member} --role=roles/storage.objectUser",
    r"bucket name": PLACE,
    r"": "try again later; see https://status.cloud.google.com",
}


class CheckError(Exception):
    """A check failed; `fix` is what to do about it."""

    def __init__(self, says: str, fix: str) -> None:
        super().__init__(says)
        self.fix = fix


@dataclass
class Case:
    """What the checks have found so far."""

    folder: Path
    repair: bool = False
    remote: str = "storage"
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


def remote(case: Case) -> str:
    """Read from DVC's configuration where the remote is."""
    try:
        config = Repo(case.folder).config
    except (ConfigError, DvcException) as error:
        raise CheckError(words(error), "git checkout .dvc, in the repository") from None
    case.remote = config["core"].get("remote", case.remote)
    case.config = dict(config["remote"].get(case.remote, {}))
    url = case.config.get("url", "no place")
    place = re.fullmatch(r"gs://([^/]+)/?(.*?)/*", url)
    if not place:
        raise CheckError(f"{url} is not on Google Cloud Storage", PLACE.format(**vars(case)))
    case.bucket, case.prefix = place.groups()
    if not case.config.get("verify"):
        says = f"{url}, but DVC takes altered objects for good"
        raise CheckError(says, f"dvc remote modify {case.remote} verify true")
    return f"{url}, where DVC verifies what it reads"


def network(case: Case) -> str:
    """Ask the server anything at all."""
    url = case.client().api_endpoint
    answer = Request()(url, timeout=ONCE["timeout"])
    if date := answer.headers.get("Date"):
        case.seconds_ahead = time.time() - parsedate_to_datetime(date).timestamp()
    return f"{url} answers"


def clock(case: Case) -> str:
    """Compare the clock with the server's."""
    if abs(case.seconds_ahead) > MAX_SKEW:
        way = "ahead of" if case.seconds_ahead > 0 else "behind"
        raise CheckError(f"{abs(case.seconds_ahead) / 60:.0f} minutes {way} the server's", CLOCK)
    return "agrees with the server's"


def credentials(case: Case) -> str:
    """Find the credentials that DVC would find."""
    if case.config.get("allow_anonymous_login"):
        return "none, as the remote's allow_anonymous_login has it"
    path = case.config.get("credentialpath")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on quota projects, which buckets do without
            load = google.auth.load_credentials_from_file
            found = load(path, SCOPES) if path else google.auth.default(SCOPES)
    except DefaultCredentialsError as error:
        if "default credentials were not found" in str(error):
            raise CheckError(f"none; {NOBODY}", LOGIN) from None
        at = "the remote's credentialpath" if path else "GOOGLE_APPLICATION_CREDENTIALS"
        raise CheckError(
            f"{words(error)} {NOBODY}", f"correct {at}, or unset it and {LOGIN}"
        ) from None
    case.credentials, case.project = found
    about = case.credentials.get_cred_info() or {}
    kind = about.get("credential_type", type(case.credentials).__module__)
    return f"{kind}, from {path or about.get('credential_source', 'this machine')}"


def login(case: Case) -> str:
    """Exchange the credentials for a token, and learn whose they are."""
    if isinstance(case.credentials, AnonymousCredentials):
        return "nobody (anonymous)"
    case.credentials.refresh(Request())
    if account := getattr(case.credentials, "service_account_email", ""):
        case.member = f"serviceAccount:{account}"
        return f"accepted: {account}"
    token = getattr(case.credentials, "id_token", None)
    if account := jwt.decode(token, verify=False).get("email") if token else "":
        case.member = f"user:{account}"
    return f"accepted: {account or 'a user'}"


def project(case: Case) -> str:
    """Compare the remote's project with the credentials': where they differ, DVC uses neither."""
    wanted = case.config.get("projectname")
    if wanted and wanted != case.project and not case.config.get("credentialpath"):
        says = f"{case.project} is the credentials', {wanted} the remote's; {NOBODY}"
        raise CheckError(says, f"export GOOGLE_CLOUD_PROJECT={wanted}")
    return case.project or "none, and none is needed"


def bucket(case: Case) -> str:
    """Ask for the bucket by a request that needs no role."""
    try:
        case.client().bucket(case.bucket).test_iam_permissions(["storage.objects.list"], **ONCE)
    except NotFound:
        fix = f"gcloud storage buckets create gs://{case.bucket}, or name another: {PLACE}"
        raise CheckError(f"{case.bucket} does not exist", fix.format(**vars(case))) from None
    return f"{case.bucket} answers"


def lists(case: Case) -> str:
    """List some objects."""
    blobs = case.client().list_blobs(case.bucket, prefix=case.prefix, max_results=9, **ONCE)
    case.found = next((blob.name for blob in blobs if blob.size), "")
    return "yes"


def writes(case: Case) -> str:
    """Write an object."""
    case.blob().upload_from_string(case.probe, **ONCE)
    case.written = True
    return "yes"


def reads(case: Case) -> str:
    """Read what was written, or what others wrote."""
    if case.written:
        if case.blob().download_as_bytes(**ONCE) != case.probe:
            raise CheckError("an object came back altered", FIXES[""])
    elif case.found:
        case.blob(case.found).download_as_bytes(end=0, **ONCE)
    else:
        return "not tried: there is nothing to read"
    return "yes"


def deletes(case: Case) -> str:
    """Delete what was written."""
    case.blob().delete(**ONCE)
    return "yes"


def contents(case: Case) -> str:
    """Compare what the bucket holds with what dvc.lock names, one by one.

    DVC takes a folder for whole as soon as its list of files is there.
    """
    repo = Repo(case.folder)
    odb = repo.cloud.get_remote_odb(case.remote)
    within = odb.path.removeprefix(f"{case.bucket}/")
    blobs = case.client().list_blobs(case.bucket, prefix=within, **ONCE)
    held = {blob.name: blob.md5_hash for blob in blobs}

    def at(oid: HashInfo) -> str:
        return str(odb.oid_to_path(oid.value)).removeprefix(f"{case.bucket}/")

    def fault(oid: HashInfo) -> str:
        if at(oid) not in held:
            return "missing"
        md5 = base64.b64encode(bytes.fromhex(str(oid.value).removesuffix(".dir"))).decode()
        return "" if held[at(oid)] in (md5, None) else "altered"  # no MD5: composed of parts

    outs = [out for out in repo.index.outs if out.use_cache and out.can_push and out.hash_info]
    outs = [out for out in outs if not out.stage.is_repo_import]  # pushed where they come from
    pushed = [out for out in outs if fault(out.hash_info) != "missing"]
    bad: dict[str, HashInfo] = {}
    for out in pushed:
        parts = {str(out): out.hash_info}
        if out.is_dir_checksum and not fault(out.hash_info):
            listed = json.loads(case.blob(at(out.hash_info)).download_as_bytes(**ONCE))
            for key, _, oid in Tree.from_list(listed, "md5"):
                parts["/".join((str(out), *key))] = oid
        bad |= {f"{name} is {fault(oid)}": oid for name, oid in parts.items() if fault(oid)}
    if not bad:
        later = len(outs) - len(pushed)
        return f"whole; {later} of {len(outs)} outputs not pushed yet" if later else "whole"
    says = "; ".join(list(bad)[:3]) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")
    if not case.repair:
        raise CheckError(says, "python -m deploy.doctor --repair, where they are in the cache")
    cache = repo.cache.local
    oids = {oid.value: oid for oid in bad.values()}
    if len(set(cache.oids_exist(list(oids)))) < len(oids):
        raise CheckError(f"{says}; not all in this cache", "repair from where they were pushed")
    for value, oid in oids.items():
        case.blob(at(oid)).upload_from_filename(cache.oid_to_path(value))
    return f"{len(oids)} objects sent again; now {contents(replace(case, repair=False))}"


# Each check with those that must have succeeded before it.
CHECKS: dict[Callable[[Case], str], tuple[Callable[[Case], str], ...]] = {
    remote: (),
    network: (remote,),
    clock: (network,),
    credentials: (remote,),
    login: (network, credentials),
    project: (credentials,),
    bucket: (login,),
    lists: (bucket,),
    writes: (bucket,),
    reads: (bucket,),
    deletes: (writes,),
    contents: (lists,),
}


def words(error: Exception) -> str:
    """Return what an error says, in a line."""
    try:
        says = error.response.json()["error"]["message"]  # type: ignore[attr-defined] # of few
    except (AttributeError, KeyError, TypeError, ValueError):
        says = str(error.args[0] if error.args else error)
    return " ".join(says.rpartition("(Caused by ")[2].split())[:300]


def examine(case: Case) -> Iterator[tuple[str, str, str]]:
    """Make the checks; yield of each its name, what it says, and the fix if it failed."""
    passed: set[Callable[[Case], str]] = set()
    for check, needed in CHECKS.items():
        says, fix = "not checked", ""
        if passed.issuperset(needed):
            try:
                says = check(case)
                passed.add(check)
            except CheckError as error:
                says, fix = str(error), error.fix
            except (GoogleAPICallError, GoogleAuthError, DvcException, OSError) as error:
                says = words(error)
                fix = next(text for at, text in FIXES.items() if re.search(at, says))
                fix = fix.format(**vars(case))
        yield check.__name__, says, fix


def main() -> None:
    """Print a line for each check, and exit with 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.doctor", description=__doc__)
    parser.add_argument(
        "--repair", action="store_true", help="send again what the remote has lost, from the cache"
    )
    failed = False
    for name, says, fix in examine(Case(Path.cwd(), parser.parse_args().repair)):
        mark = "FAIL" if fix else "-" if says == "not checked" else "ok"
        print(f"{mark:4}  {name:11}  {says}", flush=True)
        if fix:
            print(f"      {'':11}  fix: {fix}", flush=True)
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
