"""What Google's libraries and servers say when something is wrong, and what helps."""

import re

CLOCK = "sudo timedatectl set-ntp true, on a Mac: sudo sntp -sS time.apple.com"
LOGIN = "gcloud auth application-default login"
GIT = "go to a clone made by git, or tell DVC to do without: dvc config --local core.no_scm true"
QUOTA = "gcloud auth application-default set-quota-project YOUR-PROJECT"
PLACE = "dvc remote modify --local {remote} url gs://YOUR-BUCKET/dvc"

FIXES = {  # the first that matches counts
    r"reasonable timeframe": CLOCK,
    r"Invalid JWT Signature|account not found": f"make another key, or use your own: {LOGIN}",
    r"invalid_grant|_client|reauth|Reauth|Invalid Credentials|Anonymous caller": LOGIN,
    r"certificate (has expired|is not yet valid)": CLOCK,
    r"CERTIFICATE_VERIFY_FAILED": "name your proxy's, for the login and for DVC:"
    " export REQUESTS_CA_BUNDLE=FILE SSL_CERT_FILE=FILE",
    r"ProxyError|Failed to parse": "correct or unset HTTPS_PROXY",
    r"scope|[Mm]etadata": "gcloud compute instances set-service-account VM"
    " --service-account=ACCOUNT --scopes=cloud-platform",
    r"resolve|establish|timed out|onnection": "connect, or name your proxy in HTTPS_PROXY",
    r"permission to use project|serviceusage": QUOTA,
    r"billing account": "enable billing for the bucket's project in the Cloud console",
    r"requester pays": "gcloud storage buckets update gs://{bucket} --no-requester-pays",
    r"API has not been used": "gcloud services enable storage.googleapis.com",
    r"organization's policy": "ask who administers your organization in Google Cloud",
    r"retention|hold": "none needed to push and pull; `dvc gc --cloud` cannot work",
    r"storage\.(objects|buckets)\.\w+": "gcloud storage buckets add-iam-policy-binding gs://{bucket}"
    " --member={member} --role=roles/storage.objectUser",
    r"bucket name": PLACE,
    r"Errno": "allow this user to read and write that path, or name another",
    r"": "try again later; see https://status.cloud.google.com",
}


class CheckError(Exception):
    """A check failed; `fix` is what to do about it."""

    def __init__(self, says: str, fix: str) -> None:
        super().__init__(says)
        self.fix = fix


def fix_of(says: str) -> str:
    """Return what to do about an error that says this."""
    return next(fix for pattern, fix in FIXES.items() if re.search(pattern, says))


def words(error: Exception) -> str:
    """Return what an error says, in a line."""
    try:
        says = error.response.json()["error"]["message"]  # type: ignore[attr-defined] # of few
    except (AttributeError, KeyError, TypeError, ValueError):
        local = isinstance(error, OSError) or not error.args
        says = str(error if local else error.args[0])
    return " ".join(says.rpartition("(Caused by ")[2].split())[:300]
