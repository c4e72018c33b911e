"""Names the resources of a Google Cloud project, and calls gcloud."""

import json
import os
import re
import shlex
import subprocess
from typing import Any

from common.errors import InputError

NAME = "disaster-tweets"
API_KEYS = f"{NAME}-api-keys"  # the secret with the callers' keys, comma-separated
REGION = "us-central1"  # the default: it has T4s and every service used here
# They are not in .dvc/config, because DVC waits long for a bucket that does not exist.
REMOTE_COMMANDS = (
    "dvc remote add --local --default --force storage gs://{bucket}/dvc",
    "dvc remote modify --local storage verify true",
)
# gcloud's messages where a resource, or the API that manages it, does not exist.
ABSENT = "NOT_FOUND|not found|Cannot find|no objects|SERVICE_DISABLED|has not been used in project"


class GcloudError(InputError):
    """gcloud failed; the message is gcloud's own."""


class GoogleProject:
    """A project of Google Cloud, its region, and the names of its resources."""

    def __init__(self, name: str, region: str = REGION) -> None:
        """Name the resources: `flags` are gcloud's for a resource of this region and project."""
        self.id, self.region = name, region
        self.bucket = f"{name}-{NAME}"  # of data, models and runs
        self.images = f"{region}-docker.pkg.dev/{name}/{NAME}"  # the repository of images
        self.flags = (f"--region={region}", f"--project={name}")

    def account(self, role: str) -> str:
        """Return the address of a service account, such as that of the role `train`."""
        return f"{NAME}-{role}@{self.id}.iam.gserviceaccount.com"


def current_project() -> GoogleProject:
    """Return the project of the environment, or that of gcloud's configuration."""
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or gcloud("config", "get", "project").strip()
    if not project:
        raise InputError("no Google Cloud project is set: gcloud config set project ID")
    return GoogleProject(project, os.environ.get("GOOGLE_CLOUD_REGION") or REGION)


def gcloud(*arguments: str, stdin: str | None = None, is_attached: bool = False) -> str:
    """Run gcloud and return its output; if `is_attached`, gcloud prints it instead.

    A secret goes to `stdin`, because every user can see the arguments of a process.
    """
    process = subprocess.run(  # noqa: S603 - no shell
        ["gcloud", *arguments, "--quiet"],  # noqa: S607 - wherever it is installed
        input=stdin,
        capture_output=not is_attached,
        text=True,
        check=False,
    )
    if process.returncode:
        raise GcloudError(f"{format_command(arguments)}\n{process.stderr or ''}".strip())
    return process.stdout or ""


def gcloud_json(*arguments: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return gcloud's output, parsed from JSON, or None if the resource does not exist."""
    try:
        return json.loads(gcloud(*arguments, "--format=json") or "null")
    except GcloudError as error:
        if re.search(ABSENT, str(error)):
            return None
        raise


def format_command(arguments: tuple[str, ...]) -> str:
    """Return a gcloud command as it is typed in a shell."""
    return shlex.join(["gcloud", *arguments])
