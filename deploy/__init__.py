"""Runs the project on Google Cloud; `python -m deploy --help` lists the commands.

setup: the resources and roles (resources.yaml, roles.yaml); release: images, and the server on
Cloud Run; train: a job of Vertex AI; score.py: Dataflow; watch.py: the daily report; doctor.py:
checks of the DVC remote. google.py holds the names and the region, and calls gcloud.
"""

from common.commands import check_command

check_command(
    "deploy",
    "deploy",
    "deploy.release.check_model",
    "deploy.release.smoke",
    "deploy.train.job",
    "deploy.watch",
)
