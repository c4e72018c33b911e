"""Build the images of this commit on Cloud Build, which tries them and pushes them.

    python -m deploy.release.images

They are tagged with the commit, and those with a model with its version too. What is built is a
clone of the commit: no file that git does not track gets there.
"""

import argparse
import os
import tempfile

from common.errors import InputError, run
from common.git import changed_files, git
from deploy.google import Place, ask, place, watch
from deploy.release import check_model
from experiments.repository import named
from locked.manifest import LockedModelError

IMAGES = ("serve", "train", "score")


def commit() -> str:
    """Return the commit that is checked out, short; what runs in the cloud is what it holds.

    Raises:
        InputError: there are changes that are not committed.

    """
    if changed := changed_files():
        raise InputError(f"not committed yet: {named(changed)}; the cloud gets what is committed")
    return git("rev-parse", "--short=12", "HEAD").strip()


def image(at: Place, name: str, tag: str) -> str | None:
    """Return an image's name with its digest, or None where there is none of that tag."""
    found = ask("artifacts", "docker", "images", "describe", f"{at.images}/{name}:{tag}")
    return f"{at.images}/{name}@{found['image_summary']['digest']}" if found else None


def built(at: Place, name: str, tag: str) -> str:
    """Return an image's name with its digest.

    Raises:
        InputError: there is none of that tag.

    """
    found = image(at, name, tag)
    if not found:
        raise InputError(f"there is no image {at.images}/{name}:{tag} yet: make images")
    return found


def locked_model() -> str:
    """Return the version of models/classifier, which is that of dvc.lock.

    Raises:
        InputError: it is another, or not here.

    """
    try:
        return check_model.version()
    except LockedModelError as error:
        raise InputError(f"{error}; have it by `dvc pull`, or else `make repro`") from error


def build(at: Place, tag: str, model: str) -> None:
    """Submit a build of a commit, and follow it to its end."""
    os.environ["CLOUDSDK_GCLOUDIGNORE_ENABLED"] = "false"  # it would leave .git out
    with tempfile.TemporaryDirectory() as folder:
        git("clone", "--quiet", ".", folder)
        watch(
            *("builds", "submit", folder, "--config=deploy/release/cloudbuild.yaml"),
            f"--substitutions=_IMAGES={at.images},_COMMIT={tag},_MODEL={model}",
            f"--gcs-source-staging-dir=gs://{at.bucket}/builds",
            f"--gcs-log-dir=gs://{at.bucket}/builds/logs",  # from where gcloud shows it
            f"--project={at.project}",
        )


def main() -> None:
    """Build unless it is done."""
    argparse.ArgumentParser(
        prog="python -m deploy.release.images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    at, tag = place(), commit()
    if not all(image(at, name, tag) for name in IMAGES):
        build(at, tag, locked_model())
    for name in IMAGES:
        print(built(at, name, tag))


if __name__ == "__main__":
    run(main)
