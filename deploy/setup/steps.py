"""Creates the resources that are missing on Google Cloud, lists them, and removes them."""

import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common.errors import InputError
from common.git import git
from deploy.google import (
    NAME,
    NAMING,
    GcloudError,
    GoogleProject,
    command_line,
    gcloud,
    gcloud_json,
)
from deploy.setup.resources import GIVEN_NAME, Command, Resource, surplus_grants

ATTEMPTS = 12
SECONDS = 5  # between two attempts
# gcloud's messages while Google does not yet know a new account, API or metric everywhere.
TOO_EARLY = "(does|may) not exist|has not been used in project|Cannot find metric"


def answers(resources: list[Resource]) -> dict[Command, Any]:
    """Return gcloud's answer to each different `describe` command, eight at a time."""
    commands = list(dict.fromkeys(each.describe for each in resources))
    with ThreadPoolExecutor(8) as pool:
        replies = pool.map(lambda command: gcloud_json(*command), commands)
        return dict(zip(commands, replies, strict=True))


def up(resources: list[Resource]) -> int:
    """Create what is missing, update what differs, and return how many resources that were."""
    replies = answers(resources)
    missing = [each for each in resources if not each.match(replies[each.describe])]
    for position, each in enumerate(missing, 1):
        print(f"[{position}/{len(missing)}] {each.title}", flush=True)
        update = each.update if replies[each.describe] is not None else ()
        _retry(update or each.create, secrets.token_urlsafe(32) if each.new_key else None)
    return len(missing)


def _retry(command: Command, stdin: str | None) -> None:
    """Run a command; repeat it while Google does not know a new account or API everywhere."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            gcloud(*command, stdin=stdin)
        except GcloudError as error:
            if attempt == ATTEMPTS or not re.search(TOO_EARLY, str(error)):
                raise
            time.sleep(SECONDS)
        else:
            return


def status(resources: list[Resource], project: GoogleProject) -> None:
    """Print which resources exist and which roles are too many; raise an error if one is wrong."""
    replies = answers(resources)
    exists = [bool(each.match(replies[each.describe])) for each in resources]
    for is_there, each in zip(exists, resources, strict=True):
        print(f"{'ok' if is_there else '-':8}{each.title}")
    surplus = list(surplus_grants(resources, replies, project))
    for command in surplus:
        print(f"{'!':8}roles.yaml does not have this role; to remove it: {command_line(command)}")
    missing = exists.count(False)
    faults = [f"{missing} of {len(exists)} are missing: make cloud"] if missing else []
    faults += [f"{len(surplus)} roles too many: run the lines with !"] if surplus else []
    if faults:
        raise InputError("\n".join(faults))


def down(resources: list[Resource], delete_data: bool) -> list[str]:
    """Remove what exists, the last created first, and return the titles of what was kept."""
    replies = answers(resources)
    existing = [each for each in reversed(resources) if each.match(replies[each.describe])]
    to_remove = removable(existing, delete_data)
    for position, each in enumerate(to_remove, 1):
        print(f"[{position}/{len(to_remove)}] removing: {each.title}", flush=True)
        match = each.match(replies[each.describe])
        gcloud(*(match["name"] if word == GIVEN_NAME else word for word in each.remove))
    return [each.title for each in existing if each.data and not delete_data]


def removable(resources: list[Resource], delete_data: bool) -> list[Resource]:
    """Return the resources that `down` removes."""
    return [each for each in resources if each.remove and (delete_data or not each.data)]


def service(project: GoogleProject) -> Resource:
    """Return the service on Cloud Run, which a release creates and `down` removes."""
    describe, delete = (("run", "services", verb, NAME) for verb in ("describe", "delete"))
    return Resource(
        "service on Cloud Run", (*describe, *project.flags), (), remove=(*delete, *project.flags)
    )


def project_number(project: GoogleProject) -> str:
    """Return the project's number, which some names contain instead of its id."""
    reply = gcloud_json("projects", "describe", project.id)
    if not reply:
        raise InputError(f"project {project.id} does not exist, or you may not see it")
    return str(reply["projectNumber"])


def github_repository() -> str:
    """Return owner/name of the GitHub repository that this is a clone of, or ""."""
    try:
        url = git("remote", "get-url", "origin").strip()
    except InputError:
        return ""
    match = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", url)
    return match[1] if match else ""


def next_steps(project: GoogleProject, number: str, repository: str) -> str:
    """Return what to do after `up`, as text."""
    lines = [
        "Everything exists. Next:",
        *(f"    {command.format(bucket=project.bucket)}" for command in NAMING),
        "    python -m deploy.check.doctor",
    ]
    if not repository:
        lines += ["This is no clone from GitHub, so no GitHub workflow may deploy."]
        return "\n".join(lines)
    pool = f"projects/{number}/locations/global/workloadIdentityPools/{NAME}"
    variables = {
        "GOOGLE_CLOUD_PROJECT": project.id,
        "GOOGLE_CLOUD_REGION": project.region,
        "GOOGLE_IDENTITY_PROVIDER": f"{pool}/providers/github",
    }
    lines += ["For the workflows on GitHub:"]
    lines += [f"    gh variable set {name} --body {value}" for name, value in variables.items()]
    return "\n".join(lines)
