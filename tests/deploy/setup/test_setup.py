import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from common.errors import InputError
from deploy import __main__ as deploy
from deploy.google import GcloudError, GoogleProject
from deploy.google import gcloud as call_gcloud
from deploy.setup import resources as tables
from deploy.setup import steps
from deploy.setup.resources import Apis, Command, Grant, Resource, includes, read_resources
from deploy.setup.steps import down, github_repository, status, up
from serve.prediction_log import DROPPED
from tests.deploy.conftest import unknown_to_gcloud
from tests.deploy.fake_gcloud import NOTHING, Gcloud, Json

PROJECT = GoogleProject("my-project")
REPOSITORY = "me/disaster-tweets"
ALL = read_resources(PROJECT, REPOSITORY, "123456789")
yaml = YAML(typ="safe")


def resource(words: str) -> Resource:
    return next(each for each in ALL if words in each.title)


class Google:
    """The resources that exist, as gcloud's answers to their `describe` show them."""

    def __init__(self, gcloud: Gcloud) -> None:
        self.titles: list[str] = []
        self.items: dict[str, dict[str, Any]] = {}  # that differ from what the table says
        for each in ALL:
            gcloud.answers[" ".join(each.describe)] = self._reply_to(each.describe)
            for command in (each.create, each.update):
                gcloud.answers[" ".join(command)] = self._make(each)
            if each.remove:
                command = tuple(w if w != "GIVEN_NAME" else each.title for w in each.remove)
                gcloud.answers[" ".join(command)] = self._remove(each)

    def _reply_to(self, describe: Command) -> Json:
        def reply(*_: str) -> Json:
            of_this = [each for each in ALL if each.describe == describe]
            existing = [self._item(each) for each in of_this if each.title in self.titles]
            if isinstance(of_this[0], Grant):
                return {"bindings": existing}
            if "list" in describe:
                enabled = of_this[0].match_fields if isinstance(of_this[0], Apis) else {}
                apis = [{"config": {"name": name}} for name in enabled]
                return (apis if existing else []) if enabled else existing
            merged = {key: value for item in existing for key, value in item.items()}
            return merged if existing else NOTHING

        return reply

    def _item(self, each: Resource) -> dict[str, Any]:
        if isinstance(each, Grant):
            return {"role": each.match_fields["role"], "members": [each.match_fields["member"]]}
        values = {
            key: True if value == "True" else value for key, value in each.match_fields.items()
        }
        text = yaml.load(Path(each.file)) if each.file else {}
        content = {each.file_field: text} if each.file_field else text
        return {"name": each.title, **content, **values} | self.items.get(each.title, {})

    def _make(self, each: Resource) -> Json:
        def make(*_: str) -> str:
            self.titles.append(each.title)
            self.items.pop(each.title, None)
            return ""

        return make

    def _remove(self, each: Resource) -> Json:
        def remove(*_: str) -> str:
            self.titles = [title for title in self.titles if title != each.title]
            return ""

        return remove


@pytest.fixture
def cloud(gcloud: Gcloud) -> Google:
    return Google(gcloud)


def test_each_account_has_the_least_roles() -> None:
    roles: dict[str, set[str]] = {}
    for each in ALL:
        if (match := re.match(r"([\w/-]+) has ([\w.]+) on (.*)", each.title)) is not None:
            roles.setdefault(match[1], set()).add(f"{match[2]} on {match[3].split()[-1]}")
    bucket = "gs://my-project-disaster-tweets"
    assert roles["serve"] == {
        f"storage.objectViewer on {bucket}",
        "secretmanager.secretAccessor on disaster-tweets-api-keys",
    }
    assert roles["build"] == {
        f"storage.objectUser on {bucket}",
        f"storage.legacyBucketReader on {bucket}",
        "artifactregistry.writer on disaster-tweets",
    }
    assert roles["monitor"] == {
        f"storage.objectViewer on {bucket}",
        f"storage.objectCreator on {bucket}",
        "run.invoker on disaster-tweets-monitor",
    }
    assert roles["service-123456789"] == {f"storage.objectCreator on {bucket}"}
    assert roles[f"repository/{REPOSITORY}"] == {
        "iam.workloadIdentityUser on disaster-tweets-deploy@my-project.iam.gserviceaccount.com"
    }
    accounts = yaml.load(Path("deploy/setup/roles.yaml"))["accounts"]
    assert set(roles) == {*accounts, "service-123456789", f"repository/{REPOSITORY}"}
    granted = " ".join(word for words in roles.values() for word in words)
    assert not re.search(r"\b(owner|editor) on my", granted.replace("cloudbuild.builds.editor", ""))
    assert granted.lower().count("admin") == 1  # of Cloud Run


@pytest.mark.slow
def test_the_real_gcloud_knows_every_command_of_the_tables(tmp_path: Path) -> None:
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    commands = {c for each in ALL for c in (each.describe, each.create, each.remove, each.update)}
    assert (
        unknown_to_gcloud(commands - {()}, tmp_path) == []
    )  # and all that the tests call: conftest
    assert unknown_to_gcloud([("run", "services", "list", "--projct=a")], tmp_path) != []


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("    bucket: storage.objectViewer", "    bukcet: a.role", "roles.yaml: bukcet is neither"),
        ("--location=$region", "--location=$regon", r"resources.yaml: bucket gs://\S+ 'regon'"),
        ("    data: true", "    dtaa: true", r"resources.yaml: bucket gs://\S+ .*'dtaa'"),
    ],
)
def test_a_wrong_name_in_a_table_is_an_error(
    right: str, wrong: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in Path("deploy/setup").glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text().replace(right, wrong))
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=message):
        read_resources(PROJECT, "", "1")


def test_up_creates_what_is_missing_and_down_keeps_the_data(
    cloud: Google, gcloud: Gcloud, capsys: pytest.CaptureFixture[str]
) -> None:
    assert up(ALL[:1]) == 1
    assert up(ALL) == len(ALL) - 1
    assert sorted(cloud.titles) == sorted(each.title for each in ALL)
    status(ALL, PROJECT)
    calls = len(gcloud.calls)
    assert up(ALL) == 0
    questions = {each.describe for each in ALL}
    assert set(gcloud.calls[calls:]) <= questions

    kept = down([*ALL, steps.service(PROJECT)], delete_data=False)
    assert [title.split()[0] for title in kept] == ["secret", "secret", "images", "bucket"]
    assert {title.split()[0] for title in cloud.titles} == {
        *("APIs:", "bucket", "bucket:", "images", "role:", "secret"),
        "provider",  # Google removes it with its pool
    }
    down(ALL, delete_data=True)
    assert not [title for title in cloud.titles if title.split()[0] in ("bucket", "images")]
    assert "removing: bucket" in capsys.readouterr().out


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
    wanted = resource(words)
    up([wanted])
    cloud.items[wanted.title] = item
    assert up([wanted]) == 1
    assert gcloud.calls[-1] == (wanted.update or wanted.create)
    assert up([wanted]) == 0


def test_fields_that_google_adds_do_not_matter() -> None:
    assert includes({"a": [{"b": 1, "new": 2}], "c": 3}, {"a": [{"b": 1}]})
    assert not includes({"a": [{"b": 1}, {"b": 1}]}, {"a": [{"b": 1}]})
    assert not includes(None, {"a": 1})


def test_the_daily_report_is_a_job_that_starts_itself() -> None:
    job, schedule = resource("job: "), resource("schedule: ")
    account = PROJECT.account("monitor")
    assert {f"--service-account={account}", f"--set-env-vars=BUCKET={PROJECT.bucket}"} <= {
        *job.create
    }
    assert "--max-retries=0" in job.create  # a verdict does not change by asking again
    started = "projects/my-project/locations/us-central1/jobs/disaster-tweets-monitor:run"
    assert f"--uri=https://run.googleapis.com/v2/{started}" in schedule.create
    assert f"--oauth-service-account-email={account}" in schedule.create
    metric = yaml.load(Path(resource("metric: ").file))
    assert f'jsonPayload.message="{DROPPED}"' in metric["filter"]


def test_the_first_key_is_no_argument_and_is_not_printed(
    cloud: Google, gcloud: Gcloud, capsys: pytest.CaptureFixture[str]
) -> None:
    first = resource("a first key")
    up([first])
    key = gcloud.stdin[first.create]
    assert key
    assert len(key) > 40
    assert key not in " ".join(word for call in gcloud.calls for word in call)
    output = capsys.readouterr().out
    assert "a first key" in output
    assert key not in output
    assert "--data-file=-" in first.create


def test_an_account_that_is_not_known_everywhere_yet_is_waited_for(
    cloud: Google, gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "SECONDS", 0)
    monkeypatch.setattr(steps, "ATTEMPTS", 2)
    grant = resource("serve has storage.objectViewer")
    too_early = ("add-iam-policy-binding", "Service account serve does not exist.")
    gcloud.refusals = [too_early]
    up([grant])
    assert cloud.titles == [grant.title]
    cloud.titles.clear()
    gcloud.refusals = [too_early, too_early]
    with pytest.raises(GcloudError, match="does not exist"):
        up([grant])


def test_a_role_too_many_is_named_with_the_command_that_removes_it(
    cloud: Google, capsys: pytest.CaptureFixture[str]
) -> None:
    extra, wanted = resource("train has artifactregistry.reader"), resource("build has artifact")
    up([extra, wanted])
    with pytest.raises(InputError, match="1 roles too many"):
        status([wanted], PROJECT)
    line = capsys.readouterr().out.partition("remove it: ")[2]
    assert set(shlex.split(line)) == {"gcloud", *extra.remove}
    cloud.titles.remove(extra.title)
    status([wanted], PROJECT)


def test_a_refusal_is_no_absence(cloud: Google, gcloud: Gcloud) -> None:
    gcloud.refusals = [("service-accounts list", "Permission iam.serviceAccounts.list denied")]
    with pytest.raises(GcloudError, match=r"service-accounts list(.|\n)*serviceAccounts\.list"):
        up([resource("account train")])
    assert cloud.titles == []


@pytest.mark.parametrize(
    "arguments", [["up"], ["down"], ["down", "--delete-data"], ["status"]], ids=" ".join
)
def test_a_dry_run_calls_nothing(
    arguments: list[str],
    gcloud: Gcloud,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    monkeypatch.setattr(steps, "github_repository", lambda: REPOSITORY)
    monkeypatch.setattr(sys, "argv", ["deploy", *arguments, "--dry-run"])
    deploy.main()
    lines = capsys.readouterr().out.splitlines()[1:]
    assert all(shlex.split(line)[0] == "gcloud" for line in lines)
    assert any("gs://another-disaster-tweets" in line for line in lines)
    assert any("storage rm" in line for line in lines) == ("--delete-data" in arguments)
    assert gcloud.calls == []


def test_the_commands_create_list_and_remove(
    cloud: Google,
    gcloud: Gcloud,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gcloud.answers["projects describe"] = lambda *_: {"projectNumber": "123456789"}
    monkeypatch.setattr(steps, "github_repository", lambda: REPOSITORY)
    monkeypatch.setattr(sys, "argv", ["deploy", "status"])
    with pytest.raises(InputError, match=f"{len(ALL)} of {len(ALL)} are missing: make cloud"):
        deploy.main()
    monkeypatch.setattr(sys, "argv", ["deploy", "up"])
    deploy.main()
    output = capsys.readouterr().out
    assert "dvc remote add --local --default --force storage gs://my-project-" in output
    assert "gh variable set GOOGLE_IDENTITY_PROVIDER --body projects/123456789/" in output
    monkeypatch.setattr(sys, "argv", ["deploy", "down"])
    deploy.main()
    assert "--delete-data" in capsys.readouterr().out


def test_without_a_project_it_says_how_to_set_one(
    gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    monkeypatch.setattr(sys, "argv", ["deploy", "status"])
    with pytest.raises(InputError, match="export GOOGLE_CLOUD_PROJECT"):
        deploy.main()


def test_without_gcloud_it_says_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GcloudError, match="gcloud is not installed"):
        call_gcloud("version")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git@github.com:me/disaster-tweets.git", "me/disaster-tweets"),
        ("https://github.com/me/disaster.tweets", "me/disaster.tweets"),
        ("https://example.com/me/disaster-tweets", ""),
    ],
)
def test_the_repository_on_github_is_that_of_the_clone(
    url: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(["git", "remote", "add", "origin", url], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    assert github_repository() == name


def test_the_lifecycle_keeps_what_is_in_use() -> None:
    rules = json.loads(Path("deploy/setup/lifecycle.json").read_text())["rule"]
    deleting = [rule["condition"] for rule in rules if rule["action"]["type"] == "Delete"]
    assert all("daysSinceNoncurrentTime" in c or "matchesPrefix" in c for c in deleting)


def test_alerts_and_dashboard_name_resources_that_are_created() -> None:
    paths = [*Path("deploy/alerts").glob("*"), Path("deploy/setup/dashboard.yaml")]
    text = "".join(path.read_text() for path in paths)
    names = set(re.findall(r"logging.googleapis.com/user/([\w-]+)", text))
    names |= set(re.findall(r'job_name = "([\w-]+)"', text))
    assert names == {"disaster-tweets-dropped", "disaster-tweets-monitor"}
    assert names <= {word for each in ALL for word in each.create}
