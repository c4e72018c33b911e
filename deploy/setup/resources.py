"""What this project needs on Google Cloud, as commands of gcloud: resources.yaml, roles.yaml.

It is gcloud, not Terraform: there is no state to keep and to lock, each line can be read and typed
by hand, and what is there is asked of Google every time.
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
from deploy.google import NAME, Place

Command = tuple[str, ...]  # gcloud's arguments
Fields = dict[str, str]  # patterns by field

FOLDER = Path(__file__).parent
ALERTS = FOLDER.with_name("alerts")
ITS_NAME = "ITS_NAME"  # in a command, for the name that Google gave

yaml = YAML(typ="safe")


@dataclass(frozen=True)
class Resource:
    """Something that is there or not, and the commands that make and remove it."""

    what: str
    ask: Command
    make: Command
    there: Fields = field(default_factory=dict)
    gone: Fields = field(default_factory=dict)
    remove: Command = ()  # ITS_NAME in it stands for the `name` of what is found
    again: Command = ()  # instead of `make`, where something is found that does not fit
    file: str = ""  # what is found must say what this says
    within: str = ""  # in this field
    data: bool = False  # removed only on demand
    new_key: bool = False  # the standard input of `make` is a new key

    def found(self, answer: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
        """Return what of the answer to `ask` is this resource, or None."""
        items = answer if isinstance(answer, list) else [answer]
        return next((item for item in items if item and self._fits(item)), None)

    def _fits(self, item: dict[str, Any]) -> bool:
        def agree(fields: Fields) -> Iterator[bool]:
            return (fnmatchcase(str(item.get(key)), value) for key, value in fields.items())

        if self.file:
            said = yaml.load(Path(self.file))
            if not says(item.get(self.within) if self.within else item, said):
                return False
        return all(agree(self.there)) and not any(agree(self.gone))


def says(found: Any, wanted: Any) -> bool:  # noqa: ANN401 - whatever JSON can hold
    """Say whether nested values are as wanted; Google may have added fields of its own."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(says(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(says, found, wanted))
    return bool(found == wanted)


@dataclass(frozen=True)
class Grant(Resource):
    """A role that a member has on a resource; `there` names both."""

    def _fits(self, item: dict[str, Any]) -> bool:
        role, member = self.there["role"], self.there["member"]
        bindings = item.get("bindings", [])
        return any(each["role"] == role and member in each["members"] for each in bindings)


@dataclass(frozen=True)
class Apis(Resource):
    """APIs of Google, there if all of them are enabled."""

    def found(self, answer: Any) -> Any:  # noqa: ANN401 - as above
        """Return the enabled APIs, or None if one lacks."""
        enabled = {each["config"]["name"] for each in answer or []}
        return enabled if enabled >= self.there.keys() else None


def accounts() -> dict[str, dict[str, Any]]:
    """Return each account's purpose, and its roles by what it has them on."""
    return dict(yaml.load(FOLDER / "roles.yaml")["accounts"])


def resources(at: Place, github: str, number: str) -> Iterator[Resource]:
    """Yield all that is needed, in the order of making it.

    Args:
        at: the place.
        github: owner/name of a repository, or "" if nothing is deployed from there.
        number: of the place's project.

    """
    listed = yaml.load(FOLDER / "resources.yaml")
    known = {"project": at.project, "region": at.region, "bucket": at.bucket, "images": at.images}
    known |= {"github": github, "number": number}
    known |= {word: Template(text).substitute(known) for word, text in listed["words"].items()}
    apis = [f"{api}.googleapis.com" for api in listed["apis"]]
    yield Apis(
        f"APIs: {', '.join(listed['apis'])}",
        _command("services list --enabled", known),
        _command(f"services enable {' '.join(apis)}", known),
        dict.fromkeys(apis, "enabled"),
    )
    for account, about in accounts().items():
        own = {"account": account, "email": at.account(account), "purpose": about["purpose"]}
        yield _resource(listed["account"], known | own)
    for described in listed["resources"] + (listed["github"] if github else []):
        yield _resource(described, known)
    yield from _grants(at, known)
    for file in sorted(ALERTS.glob("*.yaml")):
        own = {"file": file.name, "title": yaml.load(file)["displayName"]}
        yield _resource(listed["alert"], known | own)


def _command(text: str, known: dict[str, str]) -> Command:
    """Return a command's words, with the project's."""
    words = [Template(word).substitute(known) for word in shlex.split(text)]
    return (*words, f"--project={known['project']}") if words else ()


def _resource(described: dict[str, Any], known: dict[str, str]) -> Resource:
    """Read a resource of resources.yaml.

    Raises:
        InputError: a field or a word with a dollar sign is none of those that are known.

    """
    filled: dict[str, Any] = dict(described)
    try:
        filled["what"] = Template(described["what"]).substitute(known)
        for key in {"ask", "make", "remove", "again"} & described.keys():
            filled[key] = _command(described[key], known)
        for key in {"there", "gone"} & described.keys():
            fields = described[key].items()
            filled[key] = {name: Template(str(value)).substitute(known) for name, value in fields}
        return Resource(**filled)
    except (KeyError, TypeError) as error:
        raise InputError(f"resources.yaml: {described.get('what')}: {error}") from error


def _grants(at: Place, known: dict[str, str]) -> Iterator[Resource]:
    """Yield who may do what.

    Raises:
        InputError: a role is on something that roles.yaml does not know.

    """
    listed = yaml.load(FOLDER / "roles.yaml")
    members = {f"serviceAccount:{at.account(who)}": has for who, has in accounts().items()}
    members |= listed["others"] | (listed["github"] if known["github"] else {})
    for member, has in members.items():
        for thing in [key for key in has if key != "purpose"]:
            on = listed["on"].get(thing)
            if not on and thing not in accounts():
                raise InputError(f"roles.yaml: {thing} is no account, and not under `on`")
            on = on or f"iam service-accounts {at.account(thing)}"
            condition = listed["conditions"].get(thing, "None")
            for role in [has[thing]] if isinstance(has[thing], str) else has[thing]:
                full = role if "/" in role else f"roles/{role}"
                yield _grant(on, Template(member).substitute(known), full, condition, known)


def _grant(on: str, member: str, role: str, condition: str, known: dict[str, str]) -> Grant:
    """Return a role on something: its group of commands, name and flags."""
    words = on.split()
    flags = " ".join(word for word in words if word.startswith("--"))
    *group, name = (word for word in words if not word.startswith("--"))
    binding = f"{name} {flags} --member={member} --role={role}"
    # A bucket's or a repository's policy has no conditions here, and their commands no word for it.
    if group[0] in ("projects", "secrets", "iam"):
        binding += f" {shlex.quote(f'--condition={condition}')}"
    who = member.partition(":")[2].partition("@")[0].removeprefix(f"{NAME}-")
    command, role = " ".join(group), Template(role).substitute(known)
    return Grant(
        f"{who.rpartition('attribute.')[2]} has {role.rpartition('/')[2]} on "
        f"{command} {Template(name).substitute(known)}",
        _command(f"{command} get-iam-policy {name} {flags}", known),
        _command(f"{command} add-iam-policy-binding {binding}", known),
        {"role": role, "member": member},
        remove=_command(f"{command} remove-iam-policy-binding {binding}", known),
    )


def stale(wanted: list[Resource], said: dict[Command, Any], at: Place) -> Iterator[Command]:
    """Yield the commands that take away what accounts of this name have and the table does not say.

    Only what the table still names is looked at.
    """
    grants = [each for each in wanted if isinstance(each, Grant)]
    suffix = f"@{at.project}.iam.gserviceaccount.com"
    for question in dict.fromkeys(each.ask for each in grants):
        listed = {(g.there["role"], g.there["member"]) for g in grants if g.ask == question}
        remove = [w if w != "get-iam-policy" else "remove-iam-policy-binding" for w in question]
        # These commands ask which condition; the role goes under any.
        every = ["--all"] if question[0] in ("projects", "secrets", "iam") else []
        for binding in (said[question] or {}).get("bindings", []):
            for member in binding["members"]:
                ours = member.startswith(f"serviceAccount:{NAME}-") and member.endswith(suffix)
                if ours and (binding["role"], member) not in listed:
                    of = (f"--member={member}", f"--role={binding['role']}")
                    yield (*remove, *of, *every)
