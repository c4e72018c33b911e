"""Creates and removes the resources on Google Cloud of resources.yaml and roles.yaml.

The tables have gcloud's commands, not Terraform's language: there is no state to store and lock,
each command can be read and typed, and `up` compares with what exists.
"""

import re
import secrets
import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from ruamel.yaml import YAML

from common.git import git
from deploy.google import GcloudError, GoogleProject, format_command, gcloud, gcloud_json

Command = tuple[str, ...]  # gcloud's arguments
Json = Any  # whatever JSON can hold

FOLDER = Path(__file__).parent
ALERTS = FOLDER.with_name("alerts")
GIVEN_NAME = "GIVEN_NAME"  # in a command: the name that Google gave the resource
# gcloud's messages while Google does not yet know a new account, API or metric everywhere.
TOO_EARLY = "(does|may) not exist|has not been used in project|Cannot find metric"
PAUSES = (*[5] * 11, 0)  # seconds after each attempt; 0 after the last


@dataclass(frozen=True)
class Resource:
    """A resource, and the commands that describe, create, update and remove it."""

    title: str
    describe: Command
    create: Command = ()
    match: Json = field(default_factory=dict)
    remove: Command = ()
    update: Command = ()
    is_data: bool = False
    needs_key: bool = False

    def find(self, reply: Json) -> Json:
        """Return the part of a reply to `describe` that is this resource, or None."""
        items = reply if isinstance(reply, list) and isinstance(self.match, dict) else [reply]
        return next((item for item in items if item and includes(item, self.match)), None)


def includes(actual: Json, expected: Json) -> bool:
    """Return whether nested values include the expected ones; Google may have added others."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return all(includes(actual.get(key), value) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(actual, list):
        return all(any(includes(item, value) for item in actual) for value in expected)
    return bool(actual == expected)


def read_resources(project: GoogleProject, github: str, number: str) -> list[Resource]:
    """Return all resources, in the order of their creation.

    `github` is owner/name of the repository whose workflows deploy, or ""; `number` is the
    project's number.
    """
    table, roles = _read(FOLDER / "resources.yaml"), _read(FOLDER / "roles.yaml")
    substitutes = vars(project) | {"project": project.id, "github": github, "number": number}
    substitutes |= _fill(table["texts"], substitutes)
    apis = [f"{api}.googleapis.com" for api in table["apis"]]
    row = {
        "title": "Google's APIs",
        "describe": "services list --enabled",
        "create": shlex.join(["services", "enable", *apis]),
        "match": [{"config": {"name": api}} for api in apis],
    }
    resources = [_resource(row, substitutes)]
    for account, entry in roles["accounts"].items():
        more = {"email": project.account(account), "purpose": entry["purpose"]}
        resources.append(_resource(table["account"], substitutes | {"account": account} | more))
    rows = table["resources"] + (table["github"] if github else [])
    resources += [_resource(row, substitutes) for row in (*rows, *_grants(roles, project, github))]
    for path in sorted(ALERTS.glob("*.yaml")):
        more = {"file": path.name, "title": _read(path)["displayName"]}
        resources.append(_resource(table["alert"], substitutes | more))
    return resources


def next_steps(project: GoogleProject, github: str, number: str) -> str:
    """Return the text that says what to do once all resources exist."""
    steps: dict[str, str] = _read(FOLDER / "resources.yaml")["next"]
    text = steps["always"] + (steps["github"] if github else "")
    return Template(text).substitute(vars(project), project=project.id, number=number)


def _read(path: Path) -> Json:
    return YAML(typ="safe").load(path)


def _fill(value: Json, substitutes: dict[str, str]) -> Json:
    """Return nested values in which each $name is replaced."""
    if isinstance(value, dict):
        return {key: _fill(item, substitutes) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_fill(item, substitutes) for item in value)
    return Template(value).substitute(substitutes) if isinstance(value, str) else value


def _resource(row: dict[str, Json], substitutes: dict[str, str]) -> Resource:
    """Return the resource of a row of resources.yaml."""
    fields = dict(row)
    for key in {"describe", "create", "remove", "update"} & row.keys():
        fields[key] = (*shlex.split(row[key]), "--project=$project")
    file, file_field = fields.pop("file", ""), fields.pop("file_field", "")
    fields = _fill(fields, substitutes)
    if file:
        content = _read(Path(file))
        fields["match"] = fields.get("match", {}) | (
            {file_field: content} if file_field else content
        )
    return Resource(**fields)


def _grants(roles: Json, project: GoogleProject, github: str) -> Iterator[dict[str, Json]]:
    """Yield a row for each role of roles.yaml."""
    accounts = roles["accounts"].items()
    members = {f"serviceAccount:{project.account(name)}": row for name, row in accounts}
    members |= roles["others"] | (roles["github"] if github else {})
    for member, row in members.items():
        account_name = member.partition(":")[2].partition("@")[0]
        for target in [key for key in row if key != "purpose"]:
            account = f"iam service-accounts {project.account(target)} --condition=None"
            words = shlex.split(roles["on"].get(target, account))
            flags = [word for word in words if word.startswith("--")]
            describe_flags = [flag for flag in flags if not flag.startswith("--condition=")]
            *group, name = (word for word in words if word not in flags)
            for role in [row[target]] if isinstance(row[target], str) else row[target]:
                full_role = role if "/" in role else f"roles/{role}"
                binding = [name, *flags, f"--member={member}", f"--role={full_role}"]
                yield {
                    "title": f"{account_name} has {role} on {name}",
                    "describe": shlex.join([*group, "get-iam-policy", name, *describe_flags]),
                    "create": shlex.join([*group, "add-iam-policy-binding", *binding]),
                    "remove": shlex.join([*group, "remove-iam-policy-binding", *binding]),
                    "match": {"bindings": [{"role": full_role, "members": [member]}]},
                }


def find(resources: list[Resource]) -> list[tuple[Resource, Json, Json]]:
    """Return each resource with gcloud's reply to its `describe`, and its part of the reply."""
    commands = list(dict.fromkeys(each.describe for each in resources))
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda command: gcloud_json(*command), commands)
        replies = dict(zip(commands, results, strict=True))
    return [(r, replies[r.describe], r.find(replies[r.describe])) for r in resources]


def up(resources: list[Resource]) -> int:
    """Create missing resources, update those that differ, and return the number of both."""
    missing = [(r, reply) for r, reply, item in find(resources) if r.create and not item]
    for position, (each, reply) in enumerate(missing, 1):
        print(f"[{position}/{len(missing)}] {each.title}", flush=True)
        command = (each.update if reply is not None else ()) or each.create
        key = secrets.token_urlsafe(32) if each.needs_key else None
        for pause in PAUSES:
            try:
                gcloud(*command, stdin=key)
                break
            except GcloudError as error:
                if not pause or not re.search(TOO_EARLY, str(error)):
                    raise
                time.sleep(pause)
    return len(missing)


def down(resources: list[Resource], delete_data: bool, dry_run: bool = False) -> None:
    """Remove the resources in reverse order; with `dry_run`, only print the commands."""
    existing = [(each, {"name": GIVEN_NAME}) for each in resources]
    if not dry_run:
        existing = [(each, item) for each, _, item in find(resources) if item]
    for each, item in reversed(existing):
        if each.is_data and not delete_data:
            print(f"# kept without --delete-data: {each.title}")
        elif each.remove:
            command = tuple(item["name"] if w == GIVEN_NAME else w for w in each.remove)
            print(format_command(command), flush=True)
            if not dry_run:
                gcloud(*command)


def github_repository() -> str:
    """Return owner/name of the GitHub repository that this is a clone of, or ""."""
    remote = r"^origin\s+\S*github\.com[:/](\S+/\S+?)(?:\.git)?/? \(fetch\)"
    match = re.search(remote, git("remote", "--verbose"), re.M)
    return match[1] if match else ""
