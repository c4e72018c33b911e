"""The real gcloud does with our commands what we mean, as far as stand-ins of Google show."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.google import GoogleProject
from deploy.setup.resources import Resource, read_resources
from deploy.setup.steps import down, status, up
from tests.nightly.google_cloud import NUMBER, GoogleCloud, running

PROJECT = GoogleProject("my-project")
REPOSITORY = "me/disaster-tweets"
ALL = read_resources(PROJECT, REPOSITORY, NUMBER)
# One of each kind of command, and the only one that has a condition.
SOME = [*{tuple(w for w in t.create if w.isidentifier())[:4]: t for t in ALL}.values()]
SOME = [t for t in ALL if t in SOME or ("on projects" in t.title and "SelfDelete" in t.title)]


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleCloud]:
    """An empty Google Cloud, for the gcloud that this process starts."""
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    with running(tmp_path) as cloud:
        for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_REGION", "HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        yield cloud


def members(google: GoogleCloud, prefix: str) -> set[str]:
    """Return the roles of some members, and what each is on."""
    return {
        f"{binding['role'].rpartition('/')[2]} on {path.rpartition('/')[2].partition('@')[0]}"
        for path, policy in google.policies.items()
        for binding in policy.get("bindings", [])
        for member in binding["members"]
        if member.startswith(prefix)
    }


def resource(words: str) -> Resource:
    return next(each for each in ALL if words in each.title)


def test_everything_is_created_once_and_removed_but_for_the_data(google: GoogleCloud) -> None:
    assert len(SOME) < 25
    assert up(SOME) == len(SOME)
    bucket = google.held["storage/b/my-project-disaster-tweets"]
    assert bucket["versioning"] == {"enabled": True}
    assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert {"age": 90, "matchesPrefix": ["run.googleapis.com/"]} in [
        rule["condition"] for rule in bucket["lifecycle"]["rule"]
    ]
    provider = next(v for k, v in google.held.items() if k.endswith("/providers/github"))
    condition = provider["attributeCondition"]
    assert condition.startswith(f"assertion.repository == '{REPOSITORY}' && (assertion.ref == ")
    pool = f"projects/{NUMBER}/locations/global/workloadIdentityPools/disaster-tweets"
    guests = f"principalSet://iam.googleapis.com/{pool}/attribute.repository/{REPOSITORY}"
    assert members(google, guests) == {"iam.workloadIdentityUser on disaster-tweets-deploy"}
    assert members(google, "all") == set()
    own = google.policies["cloudresourcemanager/projects/my-project"]["bindings"]
    assert any("disaster-tweets-train" in b.get("condition", {}).get("expression", "") for b in own)

    before = len(google.changes())
    assert up(SOME) == 0  # gcloud's answers match the table
    status(SOME, PROJECT)
    assert len(google.changes()) == before

    down(SOME, delete_data=False)
    held = " ".join(google.held)
    assert "storage/b/my-project-disaster-tweets" in held
    assert "serviceAccounts/" not in held
    assert "workloadIdentityPools/" not in held
    assert members(google, "") == set()
    down([each for each in SOME if each.data], delete_data=True)
    assert not [key for key in google.held if "/b/" in key or "repositories" in key]


def test_what_differs_or_is_deleted_is_updated(google: GoogleCloud) -> None:
    wanted = [resource(words) for words in ("bucket gs://", "old versions", "sink", "pool of")]
    assert up(wanted) == 4
    key = "logging/projects/my-project/sinks/disaster-tweets-answers"
    assert 'jsonPayload.message=("prediction" OR "feedback")' in google.held[key]["filter"]
    google.held[key]["filter"] = "another"
    google.held["storage/b/my-project-disaster-tweets"]["lifecycle"]["rule"].pop()
    pool = next(k for k in google.held if k.endswith("/workloadIdentityPools/disaster-tweets"))
    google.held[pool]["state"] = "DELETED"
    assert up(wanted) == 3
    assert google.changes()[-1].endswith(f"{pool.removeprefix('iam/')}:undelete?alt=json")
