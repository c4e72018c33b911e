"""The names of everything in a Google Cloud project, and the calls of gcloud."""

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

from common.errors import InputError

NAME = "disaster-tweets"
API_KEYS = f"{NAME}-api-keys"  # the secret with the keys of the endpoint's callers, comma-separated
WANDB_KEY = f"{NAME}-wandb-key"  # the secret with the key of Weights & Biases
REGION = "us-central1"  # the default: it has T4s and every service used here
# .dvc/config has no remote, because DVC would wait long for a bucket that does not exist.
NAMING = (
    "dvc remote add --local --default --force storage gs://{bucket}/dvc",
    "dvc remote modify --local storage verify true",
)
# gcloud's messages where a resource, or the API that manages it, does not exist.
MISSING = re.compile(
    r"NOT_FOUND|not found|Cannot find|SERVICE_DISABLED|has not been used in project"
)


class GcloudError(InputError):
    """gcloud failed; the message is gcloud's own."""


@dataclass(frozen=True)
class GoogleProject:
    """A project of Google Cloud, its region, and the names of its resources."""

    id: str
    region: str = REGION

    @property
    def bucket(self) -> str:
        """Return the name of the bucket of data, models and runs."""
        return f"{self.id}-{NAME}"

    @property
    def images(self) -> str:
        """Return the address of the repository of container images."""
        return f"{self.region}-docker.pkg.dev/{self.id}/{NAME}"

    @property
    def flags(self) -> tuple[str, str]:
        """Return gcloud's flags for a resource of this region and project."""
        return f"--region={self.region}", f"--project={self.id}"

    def account(self, role: str) -> str:
        """Return the name of the service account that trains, builds, serves or deploys."""
        return f"{NAME}-{role}@{self.id}.iam.gserviceaccount.com"


def current_project() -> GoogleProject:
    """Return the project of the environment or of gcloud's configuration; it must be set."""
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or gcloud("config", "get", "project").strip()
    if not project:
        raise InputError(
            "no Google Cloud project is set: export GOOGLE_CLOUD_PROJECT=ID, "
            "or gcloud config set project ID"
        )
    return GoogleProject(project, os.environ.get("GOOGLE_CLOUD_REGION") or REGION)


def gcloud(*arguments: str, stdin: str | None = None, attached: bool = False) -> str:
    """Run gcloud and return its output, or let it print if it is attached; raise its errors.

    A secret goes to `stdin`, because every user can see the arguments of a process.
    """
    try:
        process = subprocess.run(  # noqa: S603 - no shell
            ["gcloud", *arguments, "--quiet"],  # noqa: S607 - wherever it is installed
            input=stdin,
            capture_output=not attached,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise GcloudError(
            "gcloud is not installed: see https://cloud.google.com/sdk/docs/install"
        ) from None
    if process.returncode:
        reason = (process.stderr or f"status {process.returncode}").strip()
        raise GcloudError(f"{command_line(arguments)}\n{reason}")
    return process.stdout or ""


def gcloud_json(*arguments: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return gcloud's answer, parsed from JSON, or None if the resource does not exist."""
    try:
        return json.loads(gcloud(*arguments, "--format=json") or "null")
    except GcloudError as error:
        if MISSING.search(str(error)):
            return None
        raise


def command_line(arguments: tuple[str, ...]) -> str:
    """Return gcloud's command line as a person would type it."""
    return shlex.join(["gcloud", *arguments])
