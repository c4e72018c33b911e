"""Say whether the DVC remote on Google Cloud Storage can be used and is whole, and if not, why.

python -m deploy.check.doctor [--repair]
"""

import argparse
import asyncio
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import google.auth
from dvc.config import ConfigError
from dvc.exceptions import DvcException
from dvc.repo import Repo
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.auth import jwt
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from deploy.check.case import Case
from deploy.check.contents import Contents
from deploy.check.fixes import CLOCK, GIT, LOGIN, PLACE, CheckError, fix_of, words
from deploy.google import NAMING

MAX_SKEW = 300  # seconds; Google refuses keys' signatures from clocks further off
ONCE: dict[str, Any] = {"retry": None, "timeout": 10}
NOBODY = "DVC would go on as nobody (anonymous)"
SCOPES = ["https://www.googleapis.com/auth/devstorage.full_control"]  # as DVC asks


def remote(case: Case) -> str:
    """Read from DVC's configuration where the remote is."""
    try:
        config = Repo(case.folder).config
    except ConfigError as error:
        fix = "correct .dvc/config.local, or: git checkout .dvc/config"
        raise CheckError(words(error), fix) from None
    except DvcException as error:
        raise CheckError(words(error), GIT) from None
    case.remote = config["core"].get("remote", "")
    if case.remote not in config["remote"]:
        says = f"there is no remote {case.remote}" if case.remote else "no bucket is named yet"
        raise CheckError(says, " && ".join(NAMING).format(bucket="YOUR-BUCKET"))
    case.config = dict(config["remote"][case.remote])
    url = case.config["url"]
    place = re.fullmatch(r"gs://([a-z0-9][^/A-Z]+)/?(.*?)/*", url)
    if not place:
        raise CheckError(f"{url} is no bucket of Google Cloud Storage", PLACE.format(**vars(case)))
    case.bucket, case.prefix = place.groups()
    if not case.config.get("verify"):
        says = f"{url}, but DVC takes altered objects for good"
        raise CheckError(says, f"dvc remote modify --local {case.remote} verify true")
    return f"{url}, where DVC verifies what it reads"


def network(case: Case) -> str:
    """Ask the server anything at all, by either client that DVC uses: for the login, for data."""
    url = case.client().api_endpoint
    answer = Request()(url, timeout=ONCE["timeout"])
    if date := answer.headers.get("Date"):
        case.seconds_ahead = time.time() - parsedate_to_datetime(date).timestamp()

    async def ask() -> None:
        timeout = aiohttp.ClientTimeout(ONCE["timeout"])
        async with aiohttp.ClientSession(trust_env=True, timeout=timeout) as session:
            await session.head(url)

    asyncio.run(ask())
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
    except Exception as error:  # on a file that is no key, of many kinds
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
            raise CheckError("an object came back altered", fix_of(""))
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
    """Compare what the bucket holds with what DVC's files name, and mend it if asked to."""
    bucket = case.client().bucket(case.bucket)
    try:
        found = Contents(case.folder, case.remote, bucket)
        sent = found.send_again() if case.repair and found.faults else 0
        if sent:
            found = Contents(case.folder, case.remote, bucket)
    except DvcException as error:
        raise CheckError(words(error), "correct that file; `git diff` shows it") from None
    says = f"{sent} objects sent again; now {found}" if sent else str(found)
    if found.faults and case.repair:
        raise CheckError(says, "repair from where they were pushed: this cache lacks them")
    if found.faults:
        raise CheckError(
            says, "python -m deploy.check.doctor --repair, where they are in the cache"
        )
    return says


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
            except (GoogleAPICallError, GoogleAuthError, aiohttp.ClientError, OSError) as error:
                says = words(error)
                fix = fix_of(says).format(**vars(case))
        yield check.__name__, says, fix


def main() -> None:
    """Print a line for each check, and exit with 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.check.doctor", description=__doc__)
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
