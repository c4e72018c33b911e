"""Make what this project needs on Google Cloud; say what is there; take it down again.

    python -m deploy.setup up|status|down [--dry-run] [--delete-data]

`up` makes what is missing and leaves the rest as it is. `down` keeps the bucket, the images and the
secrets unless it is told to delete the data. With --dry-run the commands are printed, none is run,
and nobody needs to be logged in. It is gcloud, not Terraform: there is no state to keep and to
lock, each line can be read and typed by hand, and what is there is asked of Google every time.
"""

import argparse
import functools
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from deploy.google import (
    API_KEYS,
    NAME,
    WANDB_KEY,
    GcloudError,
    Place,
    ask,
    gcloud,
    number,
    place,
    shown,
)
from experiments.repository import git
from stages.io import InputError, run

Command = tuple[str, ...]  # gcloud's arguments

APIS = (
    "aiplatform",
    "artifactregistry",
    "cloudbuild",
    "cloudresourcemanager",
    "compute",
    "iam",
    "iamcredentials",
    "logging",
    "run",
    "secretmanager",
    "serviceusage",
    "storage",
    "sts",
)
ACCOUNTS = {
    "train": "trains, on a VM or a Vertex AI job",
    "build": "builds the images",
    "serve": "answers requests",
    "deploy": "deploys, from GitHub",
}
MODEL_TAG = "classifier#prod#"  # as GTO makes it
GITHUB = "https://token.actions.githubusercontent.com"
SELF_DELETE = "disasterTweetsSelfDelete"
# A VM may delete those of its own kind; a bucket's role may be given to anybody who reads this.
OWN_VMS = f"resource.name.extract('instances/{{name}}').startsWith('{NAME}-train')"
PATIENCE = 12  # times SECONDS that a new account may take to be known everywhere
SECONDS = 5


@dataclass(frozen=True)
class Thing:
    """Something that is there or not, and the commands that make and remove it."""

    what: str
    question: Command
    is_there: Callable[[Any], bool]  # given the question's answer
    make: tuple[Command, ...]
    remove: Command = ()
    revive: Command = ()  # what makes it again where Google keeps the deleted one for a while
    is_data: bool = False  # removed only on demand
    given: Callable[[], str] | None = None  # standard input of `make`


def things(at: Place, repository: str, project_number: str) -> Iterator[Thing]:
    """Yield all that is needed, in the order of making it.

    Args:
        at: the place.
        repository: owner/name on GitHub, or "" if nothing is deployed from there.
        project_number: of the place's project.

    """
    names = [f"{api}.googleapis.com" for api in APIS]
    yield Thing(
        f"APIs: {', '.join(APIS)}",
        ("services", "list", "--enabled", f"--project={at.project}"),
        lambda found: {*names} <= {each["config"]["name"] for each in found or []},
        (("services", "enable", *names, f"--project={at.project}"),),
    )
    yield from _stores(at)
    for role, purpose in ACCOUNTS.items():
        yield Thing(
            f"account {role}: {purpose}",
            ("iam", "service-accounts", "list", f"--project={at.project}"),
            functools.partial(_lists, at.account(role)),
            (
                (
                    *("iam", "service-accounts", "create", f"{NAME}-{role}"),
                    *(f"--display-name={NAME}: {purpose}", f"--project={at.project}"),
                ),
            ),
            ("iam", "service-accounts", "delete", at.account(role), f"--project={at.project}"),
        )
    role_of_vms = (SELF_DELETE, f"--project={at.project}")
    yield Thing(
        "role: a training VM may delete itself",
        ("iam", "roles", "describe", *role_of_vms),
        lambda found: bool(found) and not found.get("deleted"),
        (
            (
                *("iam", "roles", "create", *role_of_vms, "--stage=GA"),
                "--permissions=compute.instances.delete",
            ),
        ),
        # It stays: who deletes one cannot make it again for 37 days, unless within 7.
        revive=("iam", "roles", "undelete", *role_of_vms),
    )
    if repository:
        yield from _federation(at, repository)
    yield from _roles(at, repository, project_number)


def _lists(email: str, found: Any) -> bool:  # noqa: ANN401 - whatever JSON can hold
    return email in [each["email"] for each in found or []]


def _stores(at: Place) -> Iterator[Thing]:
    """Yield what keeps data, images and secrets."""
    url = f"gs://{at.bucket}"
    yield Thing(
        f"bucket {url}",
        ("storage", "buckets", "describe", url),
        bool,
        (
            (
                *("storage", "buckets", "create", url, f"--location={at.region}"),
                *("--uniform-bucket-level-access", "--public-access-prevention"),
                f"--project={at.project}",
            ),
        ),
        ("storage", "rm", "--recursive", url),
        is_data=True,
    )
    yield Thing(
        "bucket: versions of objects, kept for 30 days; checkpoints, for 14",
        ("storage", "buckets", "describe", url),
        lambda found: bool(
            found and found.get("versioning_enabled") and "lifecycle_config" in found
        ),
        (
            (
                *("storage", "buckets", "update", url, "--versioning"),
                "--lifecycle-file=deploy/lifecycle.json",
            ),
        ),
    )
    repository = (NAME, f"--location={at.region}", f"--project={at.project}")
    yield Thing(
        f"images {at.images}",
        ("artifacts", "repositories", "describe", *repository),
        bool,
        (("artifacts", "repositories", "create", *repository, "--repository-format=docker"),),
        ("artifacts", "repositories", "delete", *repository),
        is_data=True,
    )
    for secret, purpose in {
        API_KEYS: "of the endpoint's callers",
        WANDB_KEY: "of Weights & Biases, to be added by hand",
    }.items():
        of_project = (secret, f"--project={at.project}")
        yield Thing(
            f"secret {secret}: {purpose}",
            ("secrets", "describe", *of_project),
            bool,
            (("secrets", "create", *of_project, "--replication-policy=automatic"),),
            ("secrets", "delete", *of_project),
            is_data=True,
        )
    yield Thing(
        f"secret {API_KEYS}: a first key",
        ("secrets", "versions", "list", API_KEYS, f"--project={at.project}"),
        bool,
        (("secrets", "versions", "add", API_KEYS, "--data-file=-", f"--project={at.project}"),),
        given=lambda: secrets.token_urlsafe(32),
    )


def _federation(at: Place, repository: str) -> Iterator[Thing]:
    """Yield what lets GitHub's workflows in without a key."""
    pool = ("--location=global", f"--project={at.project}")
    pools = ("iam", "workload-identity-pools")
    yield Thing(
        "pool of identities from GitHub",
        (*pools, "describe", NAME, *pool),
        lambda found: bool(found) and found.get("state") != "DELETED",
        ((*pools, "create", NAME, *pool),),
        (*pools, "delete", NAME, *pool),
        (*pools, "undelete", NAME, *pool),
    )
    provider = ("github", f"--workload-identity-pool={NAME}", *pool)
    # The main branch builds images, and the tag of a promoted model deploys; no other branch does.
    condition = (
        f"assertion.repository == '{repository}' && (assertion.ref == 'refs/heads/main' || "
        f"assertion.ref.startsWith('refs/tags/{MODEL_TAG}'))"
    )
    settings = (
        f"--issuer-uri={GITHUB}",
        "--attribute-mapping=google.subject=assertion.sub,attribute.repository=assertion.repository",
        f"--attribute-condition={condition}",
    )
    yield Thing(
        f"provider of identities: workflows of {repository} alone",
        (*pools, "providers", "describe", *provider),
        lambda found: bool(found) and found.get("attributeCondition") == condition,
        ((*pools, "providers", "create-oidc", *provider, *settings),),
        revive=(*pools, "providers", "update-oidc", *provider, *settings),
    )


def _roles(at: Place, repository: str, project_number: str) -> Iterator[Thing]:
    """Yield who may do what: to each account the least roles that its work needs."""
    project = ("projects", at.project)
    bucket = ("storage", "buckets", f"gs://{at.bucket}")
    images = ("artifacts", "repositories", NAME, f"--location={at.region}")
    keys, wandb = ("secrets", API_KEYS), ("secrets", WANDB_KEY)
    builder, server = (("iam", "service-accounts", at.account(r)) for r in ("build", "serve"))
    grants: dict[str, list[tuple[Command, str]]] = {
        "train": [
            (bucket, "storage.objectUser"),
            (images, "artifactregistry.reader"),
            (wandb, "secretmanager.secretAccessor"),
            (project, "logging.logWriter"),
        ],
        "build": [
            (bucket, "storage.objectUser"),  # sources, models, logs
            (bucket, "storage.legacyBucketReader"),  # Cloud Build asks for that of its logs
            (images, "artifactregistry.writer"),
            (project, "logging.logWriter"),
        ],
        "serve": [
            (bucket, "storage.objectViewer"),
            (keys, "secretmanager.secretAccessor"),
        ],
        "deploy": [
            (bucket, "storage.objectUser"),  # what is to be built goes through it
            (bucket, "storage.legacyBucketReader"),  # gcloud asks for the bucket itself
            (images, "artifactregistry.reader"),
            (keys, "secretmanager.secretAccessor"),  # to try the new revision
            (project, "cloudbuild.builds.editor"),
            (project, "run.admin"),
            (project, "serviceusage.serviceUsageConsumer"),
            (builder, "iam.serviceAccountUser"),
            (server, "iam.serviceAccountUser"),
        ],
    }
    for role, of_role in grants.items():
        for resource, name in of_role:
            yield _grant(at, resource, f"serviceAccount:{at.account(role)}", f"roles/{name}")
    robot = f"serviceAccount:{at.account('train')}"
    role_of_vms = f"projects/{at.project}/roles/{SELF_DELETE}"
    yield _grant(at, project, robot, role_of_vms, f"expression={OWN_VMS},title=own-vms")
    if repository:
        deployer = ("iam", "service-accounts", at.account("deploy"))
        pool = f"projects/{project_number}/locations/global/workloadIdentityPools/{NAME}"
        guests = f"principalSet://iam.googleapis.com/{pool}/attribute.repository/{repository}"
        yield _grant(at, deployer, guests, "roles/iam.workloadIdentityUser")


def _grant(at: Place, resource: Command, member: str, role: str, condition: str = "") -> Thing:
    """Return a role that a member has on a resource: its group of commands, name and flags."""
    flags = tuple(word for word in resource if word.startswith("--"))
    *group, name = (word for word in resource if not word.startswith("--"))
    if group[0] not in ("projects", "storage"):
        flags += (f"--project={at.project}",)
    binding: Command = (f"--member={member}", f"--role={role}")
    # A bucket's or a repository's policy has no conditions here, and their commands no word for it.
    if group[0] in ("projects", "secrets", "iam"):
        binding += (f"--condition={condition or 'None'}",)

    def is_there(policy: Any) -> bool:  # noqa: ANN401 - whatever JSON can hold
        found = (policy or {}).get("bindings", [])
        return any(each["role"] == role and member in each["members"] for each in found)

    who = member.partition(":")[2].partition("@")[0].removeprefix(f"{NAME}-")
    who = who.rpartition("attribute.")[2]
    return Thing(
        f"{who} has {role.rpartition('/')[2]} on {' '.join(group)} {name}",
        (*group, "get-iam-policy", name, *flags),
        is_there,
        ((*group, "add-iam-policy-binding", name, *binding, *flags),),
        (*group, "remove-iam-policy-binding", name, *binding, *flags),
    )


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
        gcloud(*thing.remove)
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
        f"    dvc remote modify --local storage url gs://{at.bucket}/dvc",
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
    known = "PROJECT_NUMBER" if chosen.dry_run or not repository else number(at.project)
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
