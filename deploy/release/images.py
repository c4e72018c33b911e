"""Builds, tests and pushes the images of this commit on Cloud Build.

Their tags are the commit and, for those with a model, its version. The build gets a clone of the
commit, so it has no file that git does not track.
"""

import os
import tempfile

from common.errors import InputError
from common.git import changed_files, git
from deploy.google import GoogleProject, gcloud, gcloud_json
from deploy.release import check_model


def get_commit() -> str:
    """Return the short hash of the current commit; a change that is not committed is an error."""
    if changed := changed_files():
        raise InputError(f"not committed yet: {', '.join(changed)}")
    return git("rev-parse", "--short=12", "HEAD").strip()


def find_image(project: GoogleProject, name: str, tag: str) -> str:
    """Return an image's name with its digest, or "" if no image has that tag."""
    address = f"{project.images}/{name}"
    image = gcloud_json("artifacts", "docker", "images", "describe", f"{address}:{tag}")
    return f"{address}@{image['image_summary']['digest']}" if image else ""


def get_image(project: GoogleProject, name: str, tag: str) -> str:
    """Return an image's name with its digest; raise InputError if no image has that tag."""
    if image := find_image(project, name, tag):
        return image
    raise InputError(f"there is no image {project.images}/{name}:{tag}: python -m deploy images")


def build(project: GoogleProject) -> None:
    """Build the images of this commit, unless they exist, and print their names."""
    tag = get_commit()
    if not find_image(project, "serve", tag):  # a build pushes all images or none
        substitutions = f"_IMAGES={project.images},_COMMIT={tag},_MODEL={check_model.version()}"
        os.environ["CLOUDSDK_GCLOUDIGNORE_ENABLED"] = "false"  # otherwise gcloud leaves out .git
        with tempfile.TemporaryDirectory() as folder:
            git("clone", "--quiet", ".", folder)
            gcloud(
                *("builds", "submit", folder, "--config=deploy/release/cloudbuild.yaml"),
                f"--substitutions={substitutions}",
                f"--gcs-source-staging-dir=gs://{project.bucket}/builds",
                f"--gcs-log-dir=gs://{project.bucket}/builds/logs",  # gcloud reads it there
                f"--project={project.id}",
                is_attached=True,
            )
    for name in ("serve", "train", "score"):
        print(get_image(project, name, tag))
