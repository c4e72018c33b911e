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

IMAGES = ("serve", "train", "score")


def commit() -> str:
    """Return the short hash of the current commit; a change that is not committed is an error."""
    if changed := changed_files():
        names = ", ".join(changed[:3]) + (" and others" if len(changed) > 3 else "")
        raise InputError(f"not committed yet: {names}; the cloud gets what is committed")
    return git("rev-parse", "--short=12", "HEAD").strip()


def find_image(project: GoogleProject, name: str, tag: str) -> str | None:
    """Return an image's name with its digest, or None if no image has that tag."""
    address = f"{project.images}/{name}"
    image = gcloud_json("artifacts", "docker", "images", "describe", f"{address}:{tag}")
    return f"{address}@{image['image_summary']['digest']}" if image else None


def built(project: GoogleProject, name: str, tag: str) -> str:
    """Return an image's name with its digest; it must have been built."""
    if image := find_image(project, name, tag):
        return image
    raise InputError(
        f"there is no image {project.images}/{name}:{tag} yet: python -m deploy images"
    )


def locked_model() -> str:
    """Return the version of models/classifier, which must be the model of dvc.lock."""
    try:
        return check_model.version()
    except LockedModelError as error:
        raise InputError(f"{error}; have it by `dvc pull`, or else `make repro`") from error


def submit(project: GoogleProject, tag: str, model: str) -> None:
    """Submit a build of a commit, and follow it to its end."""
    os.environ["CLOUDSDK_GCLOUDIGNORE_ENABLED"] = "false"  # gcloud would leave .git out
    with tempfile.TemporaryDirectory() as folder:
        git("clone", "--quiet", ".", folder)
        gcloud(
            *("builds", "submit", folder, "--config=deploy/release/cloudbuild.yaml"),
            f"--substitutions=_IMAGES={project.images},_COMMIT={tag},_MODEL={model}",
            f"--gcs-source-staging-dir=gs://{project.bucket}/builds",
            f"--gcs-log-dir=gs://{project.bucket}/builds/logs",  # from where gcloud shows it
            f"--project={project.id}",
            attached=True,
        )


def build(project: GoogleProject) -> None:
    """Build the images of this commit, unless they exist, and print their names."""
    tag = commit()
    if not all(find_image(project, name, tag) for name in IMAGES):
        submit(project, tag, locked_model())
    for name in IMAGES:
        print(built(project, name, tag))
