import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from common.errors import InputError
from deploy.google import GcloudError, Place, gcloud
from deploy.setup import __main__ as setup
from deploy.setup.__main__ import answers, down, service, status, up
from deploy.setup.resources import Resource, accounts, resources
from serve.prediction_log import DROPPED
from tests.deploy.google_cloud import NUMBER, GoogleCloud

AT = Place("my-project")
DASHBOARD = "deploy/setup/dashboard.yaml"
REPOSITORY = "me/disaster-tweets"
WANTED = list(resources(AT, REPOSITORY, NUMBER))
# One of each kind of command, and the only one that has a condition: a call of gcloud takes long.
SOME = [*{tuple(w for w in t.make if w.isidentifier())[:4]: t for t in WANTED}.values()]
SOME = [t for t in WANTED if t in SOME or ("on projects" in t.what and "SelfDelete" in t.what)]


def resource(what: str) -> Resource:
    return next(each for each in WANTED if what in each.what)


def members(google: GoogleCloud, of: str) -> set[str]:
    """Name who has what on what."""
    return {
        f"{binding['role'].rpartition('/')[2]} on {path.rpartition('/')[2].partition('@')[0]}"
        for path, policy in google.policies.items()
        for binding in policy.get("bindings", [])
        for member in binding["members"]
        if member.startswith(of)
    }


def test_each_account_has_the_least_roles() -> None:
    roles: dict[str, set[str]] = {}
    for each in WANTED:
        if (found := re.match(r"([\w/-]+) has ([\w.]+) on (.*)", each.what)) is not None:
            roles.setdefault(found[1], set()).add(f"{found[2]} on {found[3].split()[-1]}")
    assert roles["serve"] == {
        "storage.objectViewer on gs://my-project-disaster-tweets",
        "secretmanager.secretAccessor on disaster-tweets-api-keys",
    }
    assert roles["build"] == {
        "storage.objectUser on gs://my-project-disaster-tweets",
        "storage.legacyBucketReader on gs://my-project-disaster-tweets",
        "artifactregistry.writer on disaster-tweets",
    }
    assert roles["monitor"] == {
        "storage.objectViewer on gs://my-project-disaster-tweets",
        "storage.objectCreator on gs://my-project-disaster-tweets",
        "run.invoker on disaster-tweets-monitor",
    }
    assert roles["service-123456789"] == {
        "storage.objectCreator on gs://my-project-disaster-tweets"
    }
    assert set(roles) == {*accounts(), "service-123456789", f"repository/{REPOSITORY}"}
    given = " ".join(word for words in roles.values() for word in words)
    assert not re.search(r"\b(owner|editor) on my", given.replace("cloudbuild.builds.editor", ""))
    assert given.lower().count("admin") == 1  # of Cloud Run


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (
            "    bucket: storage.objectViewer",
            "    bukcet: a.role",
            "roles.yaml: bukcet is no account",
        ),
        ("--location=$region", "--location=$regon", r"resources.yaml: bucket gs://\S+ 'regon'"),
        ("    data: true", "    dtaa: true", r"resources.yaml: bucket gs://\S+ .*'dtaa'"),
    ],
)
def test_a_wrong_name_in_a_table_is_named(
    right: str, wrong: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in Path("deploy/setup").glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text().replace(right, wrong))
    monkeypatch.setattr("deploy.setup.resources.FOLDER", tmp_path)
    with pytest.raises(InputError, match=said):
        list(resources(AT, "", NUMBER))


def test_everything_is_made_once_and_removed_but_for_the_data(
    google: GoogleCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(SOME) < 25
    assert up(SOME) == len(SOME)
    bucket = google.held["storage/b/my-project-disaster-tweets"]
    assert bucket["versioning"] == {"enabled": True}
    assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert {"age": 14, "matchesPrefix": ["checkpoints/", "builds/", "dataflow/"]} in [
        rule["condition"] for rule in bucket["lifecycle"]["rule"]
    ]
    provider = next(v for k, v in google.held.items() if k.endswith("/providers/github"))
    condition = provider["attributeCondition"]
    assert condition.startswith(f"assertion.repository == '{REPOSITORY}' && (assertion.ref == ")
    pool = f"projects/{NUMBER}/locations/global/workloadIdentityPools/disaster-tweets"
    guests = f"principalSet://iam.googleapis.com/{pool}/attribute.repository/{REPOSITORY}"
    assert members(google, guests) == {"iam.workloadIdentityUser on disaster-tweets-deploy"}
    assert "disasterTweetsSelfDelete on my-project" in members(google, "serviceAccount:")
    assert members(google, "all") == set()
    own = google.policies["cloudresourcemanager/projects/my-project"]["bindings"]
    assert any("disaster-tweets-train" in b.get("condition", {}).get("expression", "") for b in own)

    before = len(google.changes())
    assert up(SOME) == 0
    assert len(google.changes()) == before

    kept = down([*SOME, service(AT)], delete_data=False)
    assert [what.split()[0] for what in kept] == ["secret", "images", "bucket"]
    held = " ".join(google.held)
    assert "storage/b/my-project-disaster-tweets" in held
    assert "serviceAccounts/" not in held
    assert "workloadIdentityPools/" not in held
    assert not [b for p in google.policies.values() for b in p.get("bindings", [])]

    data = [t for t in SOME if t.data]
    assert status(data, AT) == (0, 0)
    down(data, delete_data=True)
    assert not [key for key in google.held if "/b/" in key or "repositories" in key]
    assert "removing: bucket" in capsys.readouterr().out


def test_the_log_goes_to_the_bucket_and_is_kept_for_some_time(google: GoogleCloud) -> None:
    wanted = [resource("bucket gs://"), resource("versions of objects"), resource("sink")]
    up(wanted)
    key = "logging/projects/my-project/sinks/disaster-tweets-answers"
    sink = google.held[key]
    assert sink["destination"] == "storage.googleapis.com/my-project-disaster-tweets"
    assert 'service_name="disaster-tweets"' in sink["filter"]
    assert 'jsonPayload.message=("prediction" OR "feedback")' in sink["filter"]
    rules = google.held["storage/b/my-project-disaster-tweets"]["lifecycle"]["rule"]
    of_log = {"age": 90, "matchesPrefix": ["run.googleapis.com/"]}  # as lifecycle.json says
    assert of_log in [rule["condition"] for rule in rules]
    google.held[key]["filter"] = "another"
    next(rule for rule in rules if rule["condition"] == of_log)["condition"]["age"] = 30
    assert up(wanted) == 2  # what an older version made is brought up to date
    assert up(wanted) == 0
    again = google.held["storage/b/my-project-disaster-tweets"]["lifecycle"]["rule"]
    assert of_log in [rule["condition"] for rule in again]
    down(wanted, delete_data=False)
    assert key not in google.held


def test_the_daily_report_is_a_job_that_starts_itself(google: GoogleCloud) -> None:
    wanted = [resource("metric: "), resource("job: "), resource("schedule: ")]
    assert up(wanted) == 3
    assert up(wanted) == 0
    account = AT.account("monitor")
    held = {key.partition("/")[0]: value for key, value in google.held.items()}
    task = held["us-central1-run"]["spec"]["template"]["spec"]["template"]["spec"]
    assert task["serviceAccountName"] == account
    assert task["maxRetries"] == 0  # a verdict does not change by asking again
    bucket = {"name": "BUCKET", "value": AT.bucket}
    assert task["containers"][0]["env"] == [bucket]
    schedule = held["cloudscheduler"]
    assert schedule["schedule"] == "0 6 * * *"
    started = "projects/my-project/locations/us-central1/jobs/disaster-tweets-monitor:run"
    assert schedule["httpTarget"]["uri"] == f"https://run.googleapis.com/v2/{started}"
    assert schedule["httpTarget"]["oauthToken"]["serviceAccountEmail"] == account
    assert held["logging"]["valueExtractor"] == "EXTRACT(jsonPayload.dropped)"
    assert f'jsonPayload.message="{DROPPED}"' in held["logging"]["filter"]
    down(wanted, delete_data=False)
    assert google.held == {}


def test_the_first_key_is_no_argument_and_is_not_printed(
    google: GoogleCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    up([resource("secret disaster-tweets-api-keys: of"), resource("a first key")])
    added = next(b for m, u, b in google.requests if u.partition("?")[0].endswith(":addVersion"))
    assert len(added["payload"]["data"]) > 40
    assert "a first key" in capsys.readouterr().out
    assert resource("a first key").make.count("--data-file=-") == 1


def test_what_google_still_keeps_is_called_back(google: GoogleCloud) -> None:
    pool = resource("pool of identities")
    up([pool])
    key = next(k for k in google.held if k.endswith("/workloadIdentityPools/disaster-tweets"))
    google.held[key]["state"] = "DELETED"
    up([pool])
    assert google.changes()[-1].endswith(f"{key.removeprefix('iam/')}:undelete?alt=json")


def test_a_new_account_may_not_be_known_everywhere_yet(
    google: GoogleCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "SECONDS", 0)
    monkeypatch.setattr(setup, "PATIENCE", 2)
    grant = resource("serve has storage.objectViewer")
    google.refuse_times = 1
    google.refusals["PUT", "/iam"] = 400, "Service account serve does not exist."
    up([grant])
    assert grant.found(answers([grant])[grant.ask])


def test_what_the_table_no_longer_says_is_named_with_the_line_that_takes_it_away(
    google: GoogleCloud, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = [resource("build has artifactregistry.writer")]
    up([resource("train has artifactregistry.reader"), *wanted])
    assert status(wanted, AT) == (0, 1)
    line = capsys.readouterr().out.partition("take it away: ")[2]
    assert f"--member=serviceAccount:{AT.account('train')} --role=roles/" in line
    gcloud(*shlex.split(line)[1:])
    assert status(wanted, AT) == (0, 0)


def test_a_refusal_is_no_absence(google: GoogleCloud) -> None:
    google.refusals["GET", "serviceAccounts"] = 403, "Permission iam.serviceAccounts.list denied"
    with pytest.raises(
        GcloudError, match=r"service-accounts list(.|\n)*iam\.serviceAccounts\.list"
    ):
        up([resource("account train")])
    assert google.changes() == []


def test_a_dry_run_asks_nobody(
    google: GoogleCloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    monkeypatch.setattr(setup, "origin", lambda: REPOSITORY)
    for arguments in (["up"], ["down"], ["down", "--delete-data"], ["status"]):
        monkeypatch.setattr(sys, "argv", ["setup", *arguments, "--dry-run"])
        setup.main()
        printed = capsys.readouterr().out.splitlines()[1:]
        assert all(shlex.split(line)[0] == "gcloud" for line in printed)
        assert any("gs://another-disaster-tweets" in line for line in printed)
        deletes = any("storage rm" in line for line in printed)
        assert deletes == (arguments == ["down", "--delete-data"])
    assert google.requests == []


def test_without_a_project_it_says_how_to_name_one(
    google: GoogleCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDSDK_CORE_PROJECT")
    monkeypatch.setattr(sys, "argv", ["setup", "status"])
    with pytest.raises(InputError, match="export GOOGLE_CLOUD_PROJECT"):
        setup.main()


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
    (tmp_path / ".git").mkdir()
    for file, content in {
        "HEAD": "ref: refs/heads/main",
        "config": f'[remote "origin"]\n\turl = {url}\n',
    }.items():
        (tmp_path / ".git" / file).write_text(content)
    for folder in ("objects", "refs"):
        (tmp_path / ".git" / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    assert setup.origin() == name


def test_the_lifecycle_keeps_what_is_in_use() -> None:
    rules = json.loads(Path("deploy/setup/lifecycle.json").read_text())["rule"]
    deleting = [rule["condition"] for rule in rules if rule["action"]["type"] == "Delete"]
    assert all("daysSinceNoncurrentTime" in c or "matchesPrefix" in c for c in deleting)


def test_alerts_and_dashboard_are_of_what_is_made() -> None:
    texts = [path.read_text() for path in (*Path("deploy/alerts").glob("*"), Path(DASHBOARD))]
    named = set(re.findall(r"logging.googleapis.com/user/([\w-]+)", "".join(texts)))
    named |= set(re.findall(r'job_name = "([\w-]+)"', "".join(texts)))
    made = {word for each in WANTED for word in each.make}
    assert named == {"disaster-tweets-dropped", "disaster-tweets-monitor"}
    assert named <= made


def test_an_alert_goes_by_the_name_that_google_gave_it(google: GoogleCloud) -> None:
    alerts = [resource("alert: disaster-tweets fails"), resource("alert: disaster-tweets is slow")]
    assert up(alerts) == 2
    assert up(alerts) == 0
    held = {v["displayName"]: k for k, v in google.held.items() if "/alertPolicies/" in k}
    fails = google.held[held["disaster-tweets fails"]]["conditions"][0]["conditionThreshold"]
    assert (fails["thresholdValue"], fails["duration"]) == (0.05, "300s")
    down(alerts[1:], delete_data=False)
    assert [k for k in google.held if "/alertPolicies/" in k] == [held["disaster-tweets fails"]]
