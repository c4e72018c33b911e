"""Trains a commit on Google Cloud: on VMs, or as a job of Vertex AI."""

import tarfile
import tempfile
from pathlib import Path

from deploy.google import GoogleProject, gcloud


def bring_back(project: GoogleProject, name: str) -> None:
    """Unpack a run's results over this clone."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "results.tar.gz"
        gcloud("storage", "cp", f"gs://{project.bucket}/runs/{name}/results.tar.gz", str(archive))
        with tarfile.open(archive) as tar:
            tar.extractall(filter="data")
