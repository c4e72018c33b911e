"""What this project needs on Google Cloud, and the commands that make and remove each of it.

It is gcloud, not Terraform: there is no state to keep and to lock, each line can be read and typed
by hand, and what is there is asked of Google every time.
"""

import functools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from deploy.google import API_KEYS, NAME, WANDB_KEY, Place

Command = tuple[str, ...]  # gcloud's arguments

APIS = (
    "aiplatform",
    "artifactregistry",
    "cloudbuild",
    "cloudresourcemanager",
    "compute",
    "dataflow",
    "iam",
    "iamcredentials",
    "logging",
    "monitoring",
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
    "score": "scores files, as a worker of Dataflow",
    "deploy": "deploys, from GitHub",
}
MODEL_TAG = "classifier#prod#"  # as GTO makes it
GITHUB = "https://token.actions.githubusercontent.com"
SELF_DELETE = "disasterTweetsSelfDelete"
LOG = "run.googleapis.com/"  # the folder in which Cloud Logging puts it
ANSWERS = (  # what the service says of its answers, and nothing else of its log
    f'resource.type="cloud_run_revision" AND resource.labels.service_name="{NAME}" '
    'AND jsonPayload.message=("prediction" OR "feedback")'
)
FOUND = "ITS_NAME"
ALERTS = {"errors": f"{NAME} fails", "latency": f"{NAME} is slow"}  # by file; what each is titled
# A VM may delete those of its own kind; a bucket's role may be given to anybody who reads this.
OWN_VMS = f"resource.name.extract('instances/{{name}}').startsWith('{NAME}-train')"


@dataclass(frozen=True)
class Thing:
    """Something that is there or not, and the commands that make and remove it."""

    what: str
    question: Command
    is_there: Callable[[Any], bool]  # given the question's answer
    make: tuple[Command, ...]
    remove: Command = ()  # FOUND in it stands for `called`
    revive: Command = ()  # what makes it again where Google keeps the deleted one for a while
    is_data: bool = False  # removed only on demand
    given: Callable[[], str] | None = None  # standard input of `make`
    called: Callable[[Any], str] | None = None  # the name that Google gave it, from the answer


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
    yield _sink(at)
    for name in ALERTS:
        yield _alert(at, name)
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
        "bucket: versions of objects, kept for 30 days; checkpoints, for 14; the log, for 90",
        ("storage", "buckets", "describe", url),
        lambda found: bool(
            found
            and found.get("versioning_enabled")
            and LOG in str(found.get("lifecycle_config"))  # an older bucket has other rules
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


def _sink(at: Place) -> Thing:
    """Return what copies the log of predictions to the bucket, in an object an hour."""
    sinks, project = ("logging", "sinks"), f"--project={at.project}"
    place = f"storage.googleapis.com/{at.bucket}"
    what = (f"{NAME}-answers", place, f"--log-filter={ANSWERS}", project)
    return Thing(
        f"sink: the log of predictions goes to gs://{at.bucket}/{LOG}",
        (*sinks, "describe", f"{NAME}-answers", project),
        lambda found: bool(found) and (found["destination"], found["filter"]) == (place, ANSWERS),
        ((*sinks, "create", *what),),
        (*sinks, "delete", f"{NAME}-answers", project),
        revive=(*sinks, "update", *what),
    )


def _alert(at: Place, name: str) -> Thing:
    """Return a policy of Cloud Monitoring, which gives it a name of its own."""
    policies, project = ("alpha", "monitoring", "policies"), f"--project={at.project}"
    title, file = ALERTS[name], f"deploy/alerts/{name}.yaml"

    def names(found: Any) -> list[str]:  # noqa: ANN401 - whatever JSON can hold
        return [each["name"] for each in found or [] if each["displayName"] == title]

    return Thing(
        f"alert: {title}",
        (*policies, "list", project),
        lambda found: bool(names(found)),
        ((*policies, "create", f"--policy-from-file={file}", project),),
        (*policies, "delete", FOUND, project),
        called=lambda found: names(found)[0],
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
        ],
        "serve": [
            (bucket, "storage.objectViewer"),
            (keys, "secretmanager.secretAccessor"),
        ],
        "score": [
            (bucket, "storage.objectUser"),
            (images, "artifactregistry.reader"),
            (project, "dataflow.worker"),
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
    logging = f"serviceAccount:service-{project_number}@gcp-sa-logging.iam.gserviceaccount.com"
    yield _grant(at, bucket, logging, "roles/storage.objectCreator")  # Google's own, of sinks
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
