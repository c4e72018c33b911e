"""Manage this project on Google Cloud.

The environment variables GOOGLE_CLOUD_PROJECT (default: gcloud's project) and GOOGLE_CLOUD_REGION
(default: us-central1) set project and region. docs/cloud.md explains the order of the commands.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from common.errors import run
from deploy import doctor, score
from deploy.google import NAME, GoogleProject, current_project, format_command, gcloud
from deploy.release import check_model, cloud_run, images
from deploy.setup import resources
from deploy.train import submit


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m deploy", description=__doc__)
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="create the resources that are missing")
    down = commands.add_parser("down", help="remove the resources, but not data, images and keys")
    down.add_argument("--delete-data", action="store_true", help="also remove bucket, images, keys")
    commands.add_parser("doctor", help="check the DVC remote, and print what helps if it fails")

    commands.add_parser("images", help="build, test and push this commit's images on Cloud Build")
    commands.add_parser("release", help="release this commit's server on Cloud Run")

    train = commands.add_parser(
        "train", help="train this commit on a T4, and download dvc.lock and the figures"
    )
    train.add_argument("--hours", type=float, default=4, help="time limit (default: 4)")

    dataflow = commands.add_parser(
        "score",
        help="classify files in a bucket on Dataflow, with this commit's image",
        description="Other options go to `python -m score`. Ctrl-C does not end the job.",
    )
    dataflow.add_argument("source", help="a gs:// file, folder or glob")
    dataflow.add_argument("target", help="a gs:// prefix")
    workers_help = "largest number of workers (default: 10)"
    dataflow.add_argument("--workers", type=int, default=10, help=workers_help)
    for each in (up, down, dataflow):
        each.add_argument(
            "--dry-run", action="store_true", help="only print the commands that it would run"
        )
    return top


def manage_resources(project: GoogleProject, options: argparse.Namespace) -> None:
    """Create or remove the resources; with --dry-run, only print the commands."""
    github = resources.github_repository()
    number = "PROJECT_NUMBER"  # some names contain it instead of the id
    if not options.dry_run:
        number = gcloud("projects", "describe", project.id, "--format=value(projectNumber)").strip()
    rows = resources.read_resources(project, github, number)
    print(f"project {project.id}, region {project.region}, GitHub {github or 'none'}", flush=True)
    if options.command == "down":
        resources.down(rows, options.delete_data, options.dry_run)
    elif options.dry_run:
        print("\n".join(format_command(each.create) for each in rows if each.create))
    else:
        resources.up(rows)
        print(resources.next_steps(project, github, number))


def release(project: GoogleProject) -> None:
    """Put this commit's server in use."""
    tag = images.get_commit()
    cloud_run.release(project, images.get_image(project, "serve", tag), check_model.version())
    cloud_run.update_report(project, tag)


def train(project: GoogleProject, hours: float) -> None:
    """Train this commit, and unpack its results into this clone."""
    tag = images.get_commit()
    name, image = f"{NAME}-train-{tag}", images.get_image(project, "train", tag)
    submit.train(project, name, image, hours)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "results.tar.gz"
        gcloud("storage", "cp", f"gs://{project.bucket}/runs/{name}/results.tar.gz", str(archive))
        shutil.unpack_archive(archive)
    print("dvc.lock and the figures are here now:\n    dvc pull\n    git commit --all")


def main() -> None:
    """Run the command of the arguments."""
    parser = make_parser()
    options, others = parser.parse_known_args()
    if others and options.command != "score":
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    if options.command == "doctor":
        for line in doctor.examine(Path.cwd()):
            print(f"ok  {line}", flush=True)
        return
    project = current_project()
    if options.command == "images":
        images.build(project)
    elif options.command == "release":
        release(project)
    elif options.command == "train":
        train(project, options.hours)
    elif options.command == "score":
        paths = (options.source, options.target)
        sys.exit(score.score(project, *paths, others, options.workers, options.dry_run))
    else:
        manage_resources(project, options)


if __name__ == "__main__":
    run(main)
