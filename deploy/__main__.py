"""Manage this project on Google Cloud.

The environment variables GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_REGION name another project than
gcloud's, and another region than us-central1. docs/cloud.md explains the order of the commands.
"""

import argparse

from common.errors import run
from deploy.google import NAME, GoogleProject, command_line, current_project
from deploy.release import cloud_run, images
from deploy.release import vertex as endpoint
from deploy.setup import steps
from deploy.setup.resources import read_resources
from deploy.train import bring_back, vertex, vm


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m deploy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="create the resources that are missing")
    status = commands.add_parser(
        "status", help="list the resources: which exist, which are missing"
    )
    down = commands.add_parser("down", help="remove the resources, but not data, images and keys")
    for each in (up, status, down):
        each.add_argument(
            "--dry-run", action="store_true", help="print gcloud's commands, run none of them"
        )
    down.add_argument("--delete-data", action="store_true", help="remove bucket, images, keys too")

    commands.add_parser("images", help="build, test and push this commit's images on Cloud Build")
    release = commands.add_parser("release", help="release this commit's server, step by step")
    release.add_argument("--on", choices=["cloud-run", "vertex"], default="cloud-run")
    release.add_argument(
        "--soak", type=float, default=60, help="seconds at a tenth of Cloud Run's traffic (60)"
    )
    commands.add_parser("back", help="give Cloud Run's traffic to the previous revision")

    train = commands.add_parser(
        "train",
        help="train this commit on a T4, and bring dvc.lock and the figures back",
        description="Train this commit on a T4. A VM is a spot VM, which deletes itself at the end,"
        " or after --hours. Ctrl-C stops watching, not the training: repeat the command to watch"
        " again and to download the results.",
    )
    train.add_argument("--on", choices=["vm", "vertex"], default="vm")
    train.add_argument("--hours", type=float, default=4, help="limit of the training (4)")
    train.add_argument(
        "--zones", nargs="+", default=[], help="where to look for a T4, in this order"
    )
    return top


def manage_resources(project: GoogleProject, options: argparse.Namespace) -> None:
    """Create, list or remove the resources, or print the commands that would."""
    repository = steps.github_repository()
    number = "PROJECT_NUMBER" if options.dry_run else steps.project_number(project)
    resources = read_resources(project, repository, number)
    github = repository or "none"
    print(f"project {project.id}, region {project.region}, GitHub {github}", flush=True)
    all_resources = [*resources, steps.service(project)]  # a release has created the service
    if options.dry_run:
        if options.command == "up":
            commands = [each.create for each in resources]
        elif options.command == "status":
            commands = list(dict.fromkeys(each.describe for each in resources))
        else:
            to_remove = steps.removable(all_resources[::-1], options.delete_data)
            commands = [each.remove for each in to_remove]
        print("\n".join(map(command_line, commands)))
    elif options.command == "up":
        steps.up(resources)
        print(steps.next_steps(project, number, repository))
    elif options.command == "status":
        steps.status(resources, project)
    else:
        kept = steps.down(all_resources, options.delete_data)
        for title in kept:
            print(f"kept: {title}")
        if kept:
            print("to delete them too, for good: python -m deploy down --delete-data")


def release(project: GoogleProject, options: argparse.Namespace) -> None:
    """Put this commit's server in use."""
    tag = images.commit()
    image, model = images.built(project, "serve", tag), images.locked_model()
    if options.on == "vertex":
        endpoint.release(project, image, model)
    else:
        cloud_run.release(project, image, model, options.soak)
        cloud_run.update_report(project, tag)


def train(project: GoogleProject, options: argparse.Namespace) -> None:
    """Train this commit, and bring its results back."""
    tag = images.commit()
    name, image = f"{NAME}-train-{tag}", images.built(project, "train", tag)
    try:
        if options.on == "vm":
            vm.train(project, name, image, options.hours, options.zones)
        else:
            vertex.train(project, name, image, options.hours)
    except KeyboardInterrupt:
        print(f"\n{name} goes on; the same command follows it again")
        raise
    bring_back(project, name)
    print("dvc.lock and the figures are here now:\n    dvc pull\n    git commit --all")


def main() -> None:
    """Run a command."""
    options = parser().parse_args()
    project = current_project()
    if options.command == "images":
        images.build(project)
    elif options.command == "release":
        release(project, options)
    elif options.command == "back":
        cloud_run.back(project)
    elif options.command == "train":
        train(project, options)
    else:
        manage_resources(project, options)


if __name__ == "__main__":
    run(main)
