"""Where things are on Google Cloud, all of it named after a project, and gcloud, which is asked."""

import functools
import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

from common.errors import InputError

NAME = "disaster-tweets"
API_KEYS = f"{NAME}-api-keys"  # the secret with those of the endpoint's callers, comma-separated
WANDB_KEY = f"{NAME}-wandb-key"  # the secret with that of Weights & Biases
REGION = "us-central1"  # has T4s and every service used here
# No remote is in .dvc/config: DVC would wait long for a bucket that nobody has named.
NAMING = (
    "dvc remote add --local --default --force storage gs://{bucket}/dvc",
    "dvc remote modify --local storage verify true",
)
# What gcloud says where a thing, or the API that knows of it, is not there.
MISSING = re.compile(
    r"NOT_FOUND|not found|Cannot find|SERVICE_DISABLED|has not been used in project"
)


class GcloudError(InputError):
    """gcloud failed; the message is its own."""


@dataclass(frozen=True)
class Place:
    """A project's own of everything."""

    project: str
    region: str = REGION

    @property
    def bucket(self) -> str:
        """Name the bucket of data, models and runs."""
        return f"{self.project}-{NAME}"

    @property
    def images(self) -> str:
        """Name the folder of container images."""
        return f"{self.region}-docker.pkg.dev/{self.project}/{NAME}"

    def account(self, role: str) -> str:
        """Name the service account that trains, builds, serves or deploys."""
        return f"{NAME}-{role}@{self.project}.iam.gserviceaccount.com"


def place() -> Place:
    """Return the place that the environment, or else gcloud's configuration, names.

    Raises:
        InputError: neither names a project.

    """
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or gcloud("config", "get", "project").strip()
    if not project:
        raise InputError(
            "which project? export GOOGLE_CLOUD_PROJECT=ID, or gcloud config set project ID"
        )
    return Place(project, os.environ.get("GOOGLE_CLOUD_REGION") or REGION)


def gcloud(*arguments: str, given: str | None = None) -> str:
    """Run gcloud and return what it prints.

    Args:
        arguments: of its command line.
        given: standard input, for what must not be seen in a list of processes.

    Raises:
        GcloudError: it failed, or is not installed.

    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            ["gcloud", *arguments, "--quiet"],  # noqa: S607 - wherever it is installed
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise GcloudError(
            "gcloud is not installed: see https://cloud.google.com/sdk/docs/install"
        ) from None
    if done.returncode:
        raise GcloudError(f"{shown(arguments)}\n{done.stderr.strip()}")
    return done.stdout


def watch(*arguments: str) -> None:
    """Run gcloud and let it speak for itself.

    Raises:
        GcloudError: it failed.

    """
    command = ["gcloud", *arguments, "--quiet"]
    if status := subprocess.run(command, check=False).returncode:  # noqa: S603 - no shell
        raise GcloudError(f"status {status} of {shown(arguments)}")


def ask(*arguments: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return what gcloud says as JSON, or None where there is no such thing.

    Raises:
        GcloudError: gcloud failed for another reason.

    """
    try:
        return json.loads(gcloud(*arguments, "--format=json") or "null")
    except GcloudError as error:
        if MISSING.search(str(error)):
            return None
        raise


def shown(arguments: tuple[str, ...]) -> str:
    """Return a command line as a person would type it."""
    return shlex.join(["gcloud", *arguments])


@functools.cache
def number(project: str) -> str:
    """Return a project's number, which some names contain instead of its id."""
    found = ask("projects", "describe", project)
    if not found:
        raise InputError(f"there is no project {project}, or it is not yours to see")
    return str(found["projectNumber"])
