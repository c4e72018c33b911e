"""The resources that this project needs on Google Cloud, read from resources.yaml and roles.yaml.

The tables hold gcloud's commands, not Terraform: there is no state to keep and lock, a person can
read and type each command, and `up` compares with what Google has each time.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from string import Template
from typing import Any

from ruamel.yaml import YAML

from common.errors import InputError
from deploy.google import NAME, GoogleProject

Command = tuple[str, ...]  # gcloud's arguments
Patterns = dict[str, str]  # by field

FOLDER = Path(__file__).parent
ALERTS = FOLDER.with_name("alerts")
GIVEN_NAME = "GIVEN_NAME"  # in a command, stands for the name that Google gave the resource


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - whatever the file has
    """Return a YAML file's content; resources are read in threads, which cannot share a parser."""
    return YAML(typ="safe", pure=True).load(path)


@dataclass(frozen=True)
class Resource:
    """A resource, and the commands that describe, create and remove it."""

    title: str
    describe: Command
    create: Command
    match_fields: Patterns = field(default_factory=dict)
    deleted_fields: Patterns = field(default_factory=dict)
    remove: Command = ()
    update: Command = ()
    file: str = ""
    file_field: str = ""
    data: bool = False
    new_key: bool = False

    def match(self, reply: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
        """Return the item of a reply to `describe` that is this resource, or None."""
        items = reply if isinstance(reply, list) else [reply]
        return next((item for item in items if item and self._fits(item)), None)

    def _fits(self, item: dict[str, Any]) -> bool:
        def agree(patterns: Patterns) -> Iterator[bool]:
            return (fnmatchcase(str(item.get(key)), value) for key, value in patterns.items())

        if self.file:
            part = item.get(self.file_field) if self.file_field else item
            if not includes(part, read_yaml(Path(self.file))):
                return False
        return all(agree(self.match_fields)) and not any(agree(self.deleted_fields))


def includes(actual: Any, wanted: Any) -> bool:  # noqa: ANN401 - whatever JSON can hold
    """Say whether nested values are as wanted; Google may have added fields of its own."""
    if isinstance(wanted, dict) and isinstance(actual, dict):
        return all(includes(actual.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(actual, list):
        return len(actual) == len(wanted) and all(map(includes, actual, wanted))
    return bool(actual == wanted)


@dataclass(frozen=True)
class Grant(Resource):
    """A role that a member has on a resource; `match_fields` names both."""

    def _fits(self, item: dict[str, Any]) -> bool:
        role, member = self.match_fields["role"], self.match_fields["member"]
        bindings = item.get("bindings", [])
        return any(each["role"] == role and member in each["members"] for each in bindings)


@dataclass(frozen=True)
class Apis(Resource):
    """Google's APIs, which exist if all of them are enabled."""

    def match(self, reply: Any) -> Any:  # noqa: ANN401 - as above
        """Return the enabled APIs, or None if one is missing."""
        enabled = {each["config"]["name"] for each in reply or []}
        return enabled if enabled >= self.match_fields.keys() else None


def read_resources(project: GoogleProject, github: str, number: str) -> list[Resource]:
    """Return all resources, in the order of their creation.

    `github` is owner/name of the repository whose workflows deploy, or ""; `number` the project's.
    """
    table, roles = read_yaml(FOLDER / "resources.yaml"), read_yaml(FOLDER / "roles.yaml")
    words = {"project": project.id, "region": project.region, "bucket": project.bucket}
    words |= {"images": project.images, "github": github, "number": number}
    words |= {word: Template(text).substitute(words) for word, text in table["words"].items()}
    apis = [f"{api}.googleapis.com" for api in table["apis"]]
    resources: list[Resource] = [
        Apis(
            f"APIs: {', '.join(table['apis'])}",
            _command("services list --enabled", words),
            _command(f"services enable {' '.join(apis)}", words),
            dict.fromkeys(apis, "enabled"),
        )
    ]
    for account, row in roles["accounts"].items():
        own = {"account": account, "email": project.account(account), "purpose": row["purpose"]}
        resources.append(_resource(table["account"], words | own))
    rows = table["resources"] + (table["github"] if github else [])
    resources += [_resource(row, words) for row in rows]
    resources += _grants(roles, project, words)
    for path in sorted(ALERTS.glob("*.yaml")):
        own = {"file": path.name, "title": read_yaml(path)["displayName"]}
        resources.append(_resource(table["alert"], words | own))
    return resources


def _command(text: str, words: dict[str, str]) -> Command:
    """Return a command's arguments, with the words filled in."""
    arguments = [Template(word).substitute(words) for word in shlex.split(text)]
    return *arguments, f"--project={words['project']}"


def _resource(row: dict[str, Any], words: dict[str, str]) -> Resource:
    """Return the resource of a row of resources.yaml; a wrong field or $word is an error."""
    fields: dict[str, Any] = dict(row)
    try:
        fields["title"] = Template(row["title"]).substitute(words)
        for key in {"describe", "create", "remove", "update"} & row.keys():
            fields[key] = _command(row[key], words)
        for key in {"match_fields", "deleted_fields"} & row.keys():
            patterns = row[key].items()
            fields[key] = {name: Template(str(value)).substitute(words) for name, value in patterns}
        return Resource(**fields)
    except (KeyError, TypeError) as error:
        raise InputError(f"resources.yaml: {row.get('title')}: {error}") from error


def _grants(
    roles: dict[str, Any], project: GoogleProject, words: dict[str, str]
) -> Iterator[Resource]:
    """Yield the roles of roles.yaml."""
    accounts = roles["accounts"]
    members = {f"serviceAccount:{project.account(name)}": row for name, row in accounts.items()}
    members |= roles["others"] | (roles["github"] if words["github"] else {})
    for member, row in members.items():
        for target in [key for key in row if key != "purpose"]:
            if target not in roles["on"] and target not in accounts:
                raise InputError(f"roles.yaml: {target} is neither an account nor under `on`")
            default = f"iam service-accounts {project.account(target)}"
            on = roles["on"].get(target, default)
            condition = roles["conditions"].get(target, "None")
            for role in [row[target]] if isinstance(row[target], str) else row[target]:
                name = role if "/" in role else f"roles/{role}"
                yield _grant(on, Template(member).substitute(words), name, condition, words)


def _grant(on: str, member: str, role: str, condition: str, words: dict[str, str]) -> Grant:
    """Return a role; `on` has gcloud's commands for the resource, its name and its flags."""
    flags = " ".join(word for word in on.split() if word.startswith("--"))
    *group, name = (word for word in on.split() if not word.startswith("--"))
    binding = f"{name} {flags} --member={member} --role={role}"
    # gcloud's commands for buckets and repositories have no flag for a condition.
    if group[0] in ("projects", "secrets", "iam"):
        binding += f" {shlex.quote(f'--condition={condition}')}"
    who = member.partition(":")[2].partition("@")[0].removeprefix(f"{NAME}-")
    command, role = " ".join(group), Template(role).substitute(words)
    return Grant(
        f"{who.rpartition('attribute.')[2]} has {role.rpartition('/')[2]} on "
        f"{command} {Template(name).substitute(words)}",
        _command(f"{command} get-iam-policy {name} {flags}", words),
        _command(f"{command} add-iam-policy-binding {binding}", words),
        {"role": role, "member": member},
        remove=_command(f"{command} remove-iam-policy-binding {binding}", words),
    )


def surplus_grants(
    resources: list[Resource], replies: dict[Command, Any], project: GoogleProject
) -> Iterator[Command]:
    """Yield the commands that remove the roles of our accounts that roles.yaml does not have.

    Only resources that roles.yaml names are examined.
    """
    grants = [each for each in resources if isinstance(each, Grant)]
    suffix = f"@{project.id}.iam.gserviceaccount.com"
    for describe in dict.fromkeys(each.describe for each in grants):
        wanted = [each.match_fields for each in grants if each.describe == describe]
        remove = [w if w != "get-iam-policy" else "remove-iam-policy-binding" for w in describe]
        # These commands ask for the condition; --all removes the role under any.
        every = ["--all"] if describe[0] in ("projects", "secrets", "iam") else []
        for binding in (replies[describe] or {}).get("bindings", []):
            for member in binding["members"]:
                ours = member.startswith(f"serviceAccount:{NAME}-") and member.endswith(suffix)
                if ours and {"role": binding["role"], "member": member} not in wanted:
                    grant = (f"--member={member}", f"--role={binding['role']}")
                    yield (*remove, *grant, *every)
