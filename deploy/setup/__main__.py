"""Make what this project needs on Google Cloud; say what is there; take it down again.

    python -m deploy.setup up|status|down [--dry-run] [--delete-data]

`up` makes what is missing and leaves the rest as it is. `down` keeps the bucket, the images and the
secrets unless it is told to delete the data. With --dry-run the commands are printed, none is run,
and nobody needs to be logged in.
"""

import argparse
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common.errors import InputError, run
from common.git import git
from deploy.google import NAME, NAMING, GcloudError, Place, ask, gcloud, number, place, shown
from deploy.setup.resources import ITS_NAME, Command, Resource, resources, stale

PATIENCE = 12  # times SECONDS that a new account may take to be known everywhere
SECONDS = 5
EARLY = "(does|may) not exist|has not been used in project|Cannot find metric"


def answers(wanted: list[Resource]) -> dict[Command, Any]:
    """Ask every question once, several at a time."""
    questions = list(dict.fromkeys(each.ask for each in wanted))
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(questions, pool.map(lambda each: ask(*each), questions), strict=True))


def up(wanted: list[Resource]) -> int:
    """Make what is missing; return how much that was."""
    said = answers(wanted)
    missing = [each for each in wanted if not each.found(said[each.ask])]
    for position, each in enumerate(missing, 1):
        print(f"[{position}/{len(missing)}] {each.what}", flush=True)
        again = each.again if said[each.ask] is not None else ()
        _patiently(again or each.make, secrets.token_urlsafe(32) if each.new_key else None)
    return len(missing)


def _patiently(command: Command, given: str | None) -> None:
    """Run a command that may come too early: an account or API is not known everywhere at once."""
    for attempt in range(PATIENCE):
        try:
            gcloud(*command, given=given)
        except GcloudError as error:
            early = re.search(EARLY, str(error))
            if not early or attempt + 1 == PATIENCE:
                raise
            time.sleep(SECONDS)
        else:
            return


def status(wanted: list[Resource], at: Place) -> tuple[int, int]:
    """Print what is there and what is not; return how much is missing, and how much too much."""
    said = answers(wanted)
    there = [bool(each.found(said[each.ask])) for each in wanted]
    for found, each in zip(there, wanted, strict=True):
        print(f"{'ok' if found else '-':8}{each.what}")
    extra = list(stale(wanted, said, at))
    for command in extra:
        print(f"{'!':8}roles.yaml does not say this; to take it away: {shown(command)}")
    return there.count(False), len(extra)


def down(wanted: list[Resource], delete_data: bool) -> list[str]:
    """Remove what is there, the last made first; return what was kept."""
    said = answers(wanted)
    there = [each for each in reversed(wanted) if each.found(said[each.ask])]
    going = removable(there, delete_data)
    for position, each in enumerate(going, 1):
        print(f"[{position}/{len(going)}] removing: {each.what}", flush=True)
        found = each.found(said[each.ask])
        gcloud(*(found["name"] if word == ITS_NAME else word for word in each.remove))
    return [each.what for each in there if each.data and not delete_data]


def removable(wanted: list[Resource], delete_data: bool) -> list[Resource]:
    """Return what `down` removes."""
    return [each for each in wanted if each.remove and (delete_data or not each.data)]


def service(at: Place) -> Resource:
    """Return the deployed service, which `up` does not make."""
    services, where = (
        ("run", "services"),
        (NAME, f"--region={at.region}", f"--project={at.project}"),
    )
    describe, delete = (*services, "describe", *where), (*services, "delete", *where)
    return Resource("service on Cloud Run", describe, make=(), remove=delete)


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
    wanted = list(resources(at, repository, known))
    print(f"project {at.project}, region {at.region}, GitHub {repository or 'none'}", flush=True)
    if chosen.dry_run:
        going = removable([*wanted, service(at)][::-1], chosen.delete_data)
        commands = {
            "up": [each.make for each in wanted],
            "status": list(dict.fromkeys(each.ask for each in wanted)),
            "down": [each.remove for each in going],
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
    else:
        missing, extra = status(wanted, at)
        said = [f"{missing} of {len(wanted)} are missing: make cloud"] if missing else []
        said += [f"{extra} roles too many: run the lines with !"] if extra else []
        if said:
            raise InputError("\n".join(said))


if __name__ == "__main__":
    run(main)
