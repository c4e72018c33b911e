"""Make what this project needs on Google Cloud; say what is there; take it down again.

    python -m deploy.setup up|status|down [--dry-run] [--delete-data]

`up` makes what is missing and leaves the rest as it is. `down` keeps the bucket, the images and the
secrets unless it is told to delete the data. With --dry-run the commands are printed, none is run,
and nobody needs to be logged in.
"""

import argparse
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deploy.google import NAME, NAMING, GcloudError, Place, ask, gcloud, number, place, shown
from deploy.resources import FOUND, Command, Thing, things
from experiments.repository import git
from reader.io import InputError, run

PATIENCE = 12  # times SECONDS that a new account may take to be known everywhere
SECONDS = 5


def answers(wanted: list[Thing]) -> dict[Command, Any]:
    """Ask every question once, several at a time."""
    questions = list(dict.fromkeys(thing.question for thing in wanted))
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(questions, pool.map(lambda each: ask(*each), questions), strict=True))


def up(wanted: list[Thing]) -> int:
    """Make what is missing; return how much that was."""
    found = answers(wanted)
    missing = [thing for thing in wanted if not thing.is_there(found[thing.question])]
    for position, thing in enumerate(missing, 1):
        print(f"[{position}/{len(missing)}] {thing.what}", flush=True)
        again = thing.revive if found[thing.question] is not None else ()
        for command in (again,) if again else thing.make:
            _patiently(command, thing.given() if thing.given else None)
    return len(missing)


def _patiently(command: Command, given: str | None) -> None:
    """Run a command that may come too early: an account or API is not known everywhere at once."""
    for attempt in range(PATIENCE):
        try:
            gcloud(*command, given=given)
        except GcloudError as error:
            early = re.search("does not exist|has not been used in project", str(error))
            if not early or attempt + 1 == PATIENCE:
                raise
            time.sleep(SECONDS)
        else:
            return


def status(wanted: list[Thing]) -> int:
    """Print what is there and what is not; return how much is missing."""
    found = answers(wanted)
    missing = 0
    for thing in wanted:
        there = thing.is_there(found[thing.question])
        missing += not there
        print(f"{'ok' if there else '-':8}{thing.what}")
    return missing


def down(wanted: list[Thing], delete_data: bool) -> list[str]:
    """Remove what is there, the last made first; return what was kept."""
    found = answers(wanted)
    there = [thing for thing in reversed(wanted) if thing.is_there(found[thing.question])]
    kept = [thing.what for thing in there if thing.is_data and not delete_data]
    going = [thing for thing in there if thing.remove and (delete_data or not thing.is_data)]
    for position, thing in enumerate(going, 1):
        print(f"[{position}/{len(going)}] removing: {thing.what}", flush=True)
        name = thing.called(found[thing.question]) if thing.called else FOUND
        gcloud(*(name if word == FOUND else word for word in thing.remove))
    return kept


def service(at: Place) -> Thing:
    """Return the deployed service, which `up` does not make."""
    where = (NAME, f"--region={at.region}", f"--project={at.project}")
    question = ("run", "services", "describe", *where)
    return Thing("service on Cloud Run", question, bool, (), ("run", "services", "delete", *where))


def origin() -> str:
    """Return owner/name of the repository on GitHub that this is a clone of, or ""."""
    try:
        url = git("remote", "get-url", "origin").strip()
    except InputError:
        return ""
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", url)
    return found[1] if found else ""


def next_steps(at: Place, repository: str) -> str:
    """Say what is to do once all is there."""
    lines = [
        "all is there. Next:",
        *(f"    {command.format(bucket=at.bucket)}" for command in NAMING),
        "    make doctor",
    ]
    if repository:
        pool = f"projects/{number(at.project)}/locations/global/workloadIdentityPools/{NAME}"
        lines += [
            "and for the workflows on GitHub:",
            f"    gh variable set GOOGLE_CLOUD_PROJECT --body {at.project}",
            f"    gh variable set GOOGLE_CLOUD_REGION --body {at.region}",
            f"    gh variable set GOOGLE_IDENTITY_PROVIDER --body {pool}/providers/github",
        ]
    else:
        lines += ["no clone of a repository on GitHub, so none was let in to deploy"]
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.setup", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("do", choices=["up", "status", "down"])
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run none")
    parser.add_argument(
        "--delete-data", action="store_true", help="with down: bucket, images, keys"
    )
    chosen = parser.parse_args()
    if chosen.delete_data and chosen.do != "down":
        parser.error("--delete-data goes with down")
    at, repository = place(), origin()
    known = "PROJECT_NUMBER" if chosen.dry_run else number(at.project)
    wanted = list(things(at, repository, known))
    print(f"project {at.project}, region {at.region}, GitHub {repository or 'none'}", flush=True)
    if chosen.dry_run:
        removed = [
            t for t in reversed(wanted) if t.remove and (chosen.delete_data or not t.is_data)
        ]
        commands = {
            "up": [command for thing in wanted for command in thing.make],
            "status": list(dict.fromkeys(thing.question for thing in wanted)),
            "down": [service(at).remove, *(thing.remove for thing in removed)],
        }[chosen.do]
        print("\n".join(map(shown, commands)))
    elif chosen.do == "up":
        up(wanted)
        print(next_steps(at, repository))
    elif chosen.do == "down":
        kept = down([*wanted, service(at)], chosen.delete_data)
        for what in kept:
            print(f"kept: {what}")
        if kept:
            print("to delete them too, for good: python -m deploy.setup down --delete-data")
    elif missing := status(wanted):
        raise InputError(f"{missing} of {len(wanted)} are missing: make cloud")


if __name__ == "__main__":
    run(main)
