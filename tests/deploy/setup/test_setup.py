import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from common.errors import InputError
from deploy.google import GcloudError, GoogleProject
from deploy.setup import resources
from deploy.setup.resources import Resource, includes, read_resources, up
from serve.prediction_log import DROPPED
from tests.conftest import ROOT
from tests.deploy.conftest import CALLS, Command
from tests.deploy.fake_gcloud import NOTHING, Gcloud, Json

PROJECT = GoogleProject("my-project")
REPOSITORY = "me/disaster-tweets"
ALL = read_resources(PROJECT, REPOSITORY, "123456789")
CREATED = [each for each in ALL if each.create]
CALLS.update(c for each in ALL for c in (each.describe, each.create, each.remove, each.update) if c)


def resource(words: str) -> Resource:
    return next(each for each in ALL if words in each.title)


class Google:
    """The resources that exist, as gcloud's answers to their `describe` show them."""

    def __init__(self, gcloud: Gcloud) -> None:
        self.items: dict[str, dict[str, Any]] = {}  # by title
        for each in CREATED:
            gcloud.answers[" ".join(each.describe)] = lambda *_, each=each: self._reply(each)
            for command in filter(None, (each.create, each.update)):
                gcloud.answers[" ".join(command)] = lambda *_, each=each: self._make(each)
            command = tuple(w if w != "GIVEN_NAME" else each.title for w in each.remove)
            gcloud.answers[" ".join(command)] = lambda *_, each=each: self.items.pop(each.title)

    def _make(self, each: Resource) -> str:
        content = {"items": each.match} if isinstance(each.match, list) else each.match
        self.items[each.title] = {"name": each.title, **content}
        return ""

    def _reply(self, each: Resource) -> Json:
        titles = [other.title for other in ALL if other.describe == each.describe]
        items = [self.items[title] for title in titles if title in self.items]
        if "get-iam-policy" in each.describe:
            return {"bindings": [binding for item in items for binding in item["bindings"]]}
        if "list" in each.describe:
            return items[0]["items"] if items and "items" in items[0] else items
        return {key: value for item in items for key, value in item.items()} or NOTHING


@pytest.fixture
def cloud(gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch) -> Google:
    monkeypatch.setattr(resources, "github_repository", lambda: REPOSITORY)
    return Google(gcloud)


def test_each_account_has_the_least_roles() -> None:
    roles: dict[str, set[str]] = {}
    for each in ALL:
        if match := re.match(r"(\S+) has (\S+) on (\S+)$", each.title):
            account, role = match[1].rpartition("attribute.")[2], f"{match[2]} on {match[3]}"
            roles.setdefault(account, set()).add(role)
    bucket = "gs://my-project-disaster-tweets"
    assert roles["disaster-tweets-serve"] == {
        f"storage.objectViewer on {bucket}",
        "secretmanager.secretAccessor on disaster-tweets-api-keys",
    }
    assert roles["service-123456789"] == {f"storage.objectCreator on {bucket}"}
    assert roles[f"repository/{REPOSITORY}"] == {
        "iam.workloadIdentityUser on disaster-tweets-deploy@my-project.iam.gserviceaccount.com"
    }
    table = YAML(typ="safe").load(ROOT / "deploy/setup/roles.yaml")
    accounts = {f"disaster-tweets-{name}" for name in table["accounts"]}
    assert set(roles) == {*accounts, "service-123456789", f"repository/{REPOSITORY}"}
    targets = {key for row in table["accounts"].values() for key in row} - {"purpose"}
    assert targets <= {*table["on"], *table["accounts"]}
    granted = " ".join(word for words in roles.values() for word in words)
    assert not re.search(r"\b(owner|editor) on my", granted.replace("cloudbuild.builds.editor", ""))
    assert granted.lower().count("admin") == 1  # of Cloud Run


def test_up_creates_the_missing_resources_and_down_keeps_the_data(
    cloud: Google, gcloud: Gcloud, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    gcloud.answers["projects describe"] = lambda *_: "123456789\n"
    assert up(ALL[:1]) == 1
    command("up")
    output = capsys.readouterr().out
    assert "dvc remote add --local --default --force storage gs://my-project-" in output
    assert "gh variable set GOOGLE_IDENTITY_PROVIDER --body projects/123456789/" in output
    calls = len(gcloud.calls)
    assert up(ALL) == 0
    assert set(gcloud.calls[calls:]) <= {each.describe for each in ALL}
    gcloud.answers["run services describe disaster-tweets"] = lambda *_: {"kind": "Service"}
    command("down")
    assert gcloud.called("run services delete")
    assert {title.split()[0] for title in cloud.items} == {
        *("Google's", "bucket", "bucket:", "images", "secret"),
        "provider",  # Google removes it with its pool
    }
    assert "kept without --delete-data: bucket" in capsys.readouterr().out
    command("down", "--delete-data")
    assert not [title for title in cloud.items if title.split()[0] in ("bucket", "images")]


@pytest.mark.parametrize("arguments", [["up"], ["down"], ["down", "--delete-data"]], ids=" ".join)
def test_a_dry_run_calls_nothing(
    arguments: list[str],
    cloud: Google,
    gcloud: Gcloud,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    command(*arguments, "--dry-run")
    lines = capsys.readouterr().out.splitlines()[1:]
    commands = [line for line in lines if not line.startswith("# kept")]
    assert {shlex.split(line)[0] for line in commands} == {"gcloud"}
    assert any("gs://another-disaster-tweets" in line for line in commands)
    assert any("storage rm" in line for line in commands) == ("--delete-data" in arguments)
    assert gcloud.calls == []


def test_a_project_must_be_set(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    with pytest.raises(InputError, match="gcloud config set project"):
        command("up")


@pytest.mark.parametrize(
    ("words", "item"),
    [
        ("sink", {"filter": "another"}),
        ("old versions", {"lifecycle_config": {"rule": []}}),
        ("metric: ", {"valueExtractor": "another"}),
        ("pool of identities", {"state": "DELETED"}),
        ("provider of identities", {"attributeCondition": "another"}),
    ],
)
def test_a_resource_that_differs_is_updated(
    cloud: Google, gcloud: Gcloud, words: str, item: dict[str, Any]
) -> None:
    changed = resource(words)
    up([changed])
    cloud.items[changed.title] |= item
    assert up([changed]) == 1
    assert gcloud.calls[-1] == (changed.update or changed.create)
    assert up([changed]) == 0


def test_fields_that_google_adds_do_not_matter() -> None:
    assert includes({"a": [{"b": 1, "new": 2}, {}], "c": 3}, {"a": [{"b": 1}]})
    assert not includes({"a": [{"b": 1}]}, {"a": [{"b": 1}, {"c": 1}]})
    assert not includes(None, {"a": 1})


def test_the_lifecycle_deletes_only_old_versions_and_scratch() -> None:
    rules = resource("old versions").match["lifecycle_config"]["rule"]
    conditions = [rule["condition"] for rule in rules if rule["action"]["type"] == "Delete"]
    assert all({"daysSinceNoncurrentTime", "matchesPrefix"} & c.keys() for c in conditions)


def test_schedule_alerts_and_dashboard_name_what_is_created() -> None:
    started = "projects/my-project/locations/us-central1/jobs/disaster-tweets-monitor:run"
    assert f"--uri=https://run.googleapis.com/v2/{started}" in resource("schedule: ").create
    assert f'jsonPayload.message="{DROPPED}"' in resource("metric: ").match["filter"]
    paths = [*ROOT.glob("deploy/alerts/*"), ROOT / "deploy/setup/dashboard.yaml"]
    text = "".join(path.read_text() for path in paths)
    names = set(re.findall(r'logging.googleapis.com/user/([\w-]+)|job_name = "([\w-]+)"', text))
    assert names == {("disaster-tweets-dropped", ""), ("", "disaster-tweets-monitor")}
    assert {*map("".join, names)} <= {word for each in ALL for word in each.create}


def test_the_first_key_is_no_argument_and_is_not_printed(
    cloud: Google, gcloud: Gcloud, capsys: pytest.CaptureFixture[str]
) -> None:
    first = resource("a first key")
    up([first])
    key = gcloud.stdin[first.create] or ""
    assert len(key) > 40
    assert "--data-file=-" in first.create
    assert key not in str(gcloud.calls) + capsys.readouterr().out


def test_up_waits_until_google_knows_a_new_account_everywhere(
    cloud: Google, gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "PAUSES", (0.001, 0))
    grant = resource("serve has storage.objectViewer")
    too_early = ("add-iam-policy-binding", "Service account serve does not exist.")
    gcloud.refusals = [too_early]
    assert up([grant]) == 1
    cloud.items.clear()
    gcloud.refusals = [too_early, too_early]
    with pytest.raises(GcloudError, match="does not exist"):
        up([grant])


def test_a_refusal_is_no_absence(cloud: Google, gcloud: Gcloud) -> None:
    gcloud.refusals = [("service-accounts list", "Permission iam.serviceAccounts.list denied")]
    with pytest.raises(GcloudError, match=r"service-accounts list(.|\n)*serviceAccounts\.list"):
        up([resource("account train")])
    assert cloud.items == {}


def test_the_repository_on_github_is_that_of_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    for url, name in {
        "git@github.com:me/disaster-tweets.git": "me/disaster-tweets",
        "https://github.com/me/disaster.tweets": "me/disaster.tweets",
        "https://example.com/me/disaster-tweets": "",
    }.items():
        subprocess.run(["git", "config", "remote.origin.url", url], check=True)
        assert resources.github_repository() == name
