"""Builds the images of this commit on Cloud Build, which tests them and pushes them.

Their tags are the commit and, for those with a model, its version. The build gets a clone of the
commit, so it has no file that git does not track.
"""

import os
import tempfile

from common.errors import InputError
from common.git import changed_files, git
from deploy.google import GoogleProject, gcloud, gcloud_json
from deploy.release import check_model
from locked.manifest import LockedModelError


def commit() -> str:
    """Return the short hash of the current commit; a change that is not committed is an error."""
    if changed := changed_files():
        raise InputError(f"not committed yet: {', '.join(changed)}")
    return git("rev-parse", "--short=12", "HEAD").strip()


def find_image(project: GoogleProject, name: str, tag: str) -> str:
    """Return an image's name with its digest, or "" if no image has that tag."""
    address = f"{project.images}/{name}"
    image = gcloud_json("artifacts", "docker", "images", "describe", f"{address}:{tag}")
    return f"{address}@{image['image_summary']['digest']}" if image else ""


def built(project: GoogleProject, name: str, tag: str) -> str:
    """Return an image's name with its digest; it must have been built."""
    if image := find_image(project, name, tag):
        return image
    raise InputError(f"there is no image {project.images}/{name}:{tag}: python -m deploy images")


def locked_model() -> str:
    """Return the version of models/classifier, which must be the model of dvc.lock."""
    try:
        return check_model.version()
    except LockedModelError as error:
        raise InputError(f"{error}; have it by `dvc pull`, or else `make repro`") from error


def build(project: GoogleProject) -> None:
    """Build the images of this commit, unless they exist, and print their names."""
    tag = commit()
    if not find_image(project, "serve", tag):  # a build pushes all images, or none
        words = f"_IMAGES={project.images},_COMMIT={tag},_MODEL={locked_model()}"
        os.environ["CLOUDSDK_GCLOUDIGNORE_ENABLED"] = "false"  # gcloud would leave .git out
        with tempfile.TemporaryDirectory() as folder:
            git("clone", "--quiet", ".", folder)
            gcloud(
                *("builds", "submit", folder, "--config=deploy/release/cloudbuild.yaml"),
                f"--substitutions={words}",
                f"--gcs-source-staging-dir=gs://{project.bucket}/builds",
                f"--gcs-log-dir=gs://{project.bucket}/builds/logs",  # from where gcloud shows it
                f"--project={project.id}",
                attached=True,
            )
    for name in ("serve", "train", "score"):
        print(built(project, name, tag))
