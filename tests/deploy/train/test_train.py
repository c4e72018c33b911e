import io
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from common.errors import InputError
from deploy.google import GcloudError, Place
from deploy.release import images
from deploy.train import __main__ as train
from deploy.train import vertex, vm
from tests.conftest import HANG
from tests.deploy.google_cloud import GoogleCloud
from tests.serve.running import wait_until

AT = Place("my-project")
RUN = "disaster-tweets-train-c0ffee"
FULL = "ZONE_RESOURCE_POOL_EXHAUSTED: the zone does not have enough resources available"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm, "SECONDS", 0)


def created(google: GoogleCloud) -> list[str]:
    """Name the zones in which a VM was asked for."""
    posts = [u for m, u, _ in google.requests if m == "POST" and "/instances?" in u]
    return [url.split("/zones/")[1].partition("/")[0] for url in posts]


def test_zones_are_those_that_have_t4s_the_nearest_first(google: GoogleCloud) -> None:
    google.zones = ("europe-west4-a", "us-west1-b", "us-central1-f", "us-central1-a")
    assert vm.zones(AT, []) == ["us-central1-a", "us-central1-f", "us-west1-b"]
    assert vm.zones(AT, ["asia-east1-a"]) == ["asia-east1-a"]
    with pytest.raises(InputError, match="no zone near africa-south1"):
        vm.zones(Place("my-project", "africa-south1"), [])


def test_a_full_zone_is_passed_over_and_a_taken_vm_replaced(
    google: GoogleCloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = iter([None, None, 0])  # the first VM is taken away, the second one ends well
    monkeypatch.setattr(vm, "ended", lambda *_: next(statuses))
    google.hold_object(AT.bucket, f"runs/{RUN}/status", b"0")
    google.refusals["POST", "zones/us-central1-a/instances"] = 503, FULL
    google.refuse_times = 1
    google.prints = ["boot noise\nx startup-script: train: ep", "och 1/2\r\n"]
    vm.train(AT, RUN, "image@sha256:1", 1.5, ["us-central1-a", "us-central1-b"])
    assert created(google) == ["us-central1-a", "us-central1-b", "us-central1-a"]
    said = capsys.readouterr().out
    assert "us-central1-a: none free" in said
    assert "train: epoch 1/2\n" in said
    assert "noise" not in said
    assert "took" in said
    assert google.objects  # this commit is trained: its results are brought back, and again
    body = next(b for m, u, b in google.requests if m == "POST" and "us-central1-b/instances?" in u)
    schedule = body["scheduling"]
    assert schedule["provisioningModel"] == "SPOT"
    assert schedule["instanceTerminationAction"] == "DELETE"
    assert 5000 < int(schedule["maxRunDuration"]["seconds"]) <= 5400
    items = {item["key"]: item["value"] for item in body["metadata"]["items"]}
    assert items["startup-script"] == Path(vm.SCRIPT).read_text()
    assert items["image"] == "image@sha256:1"
    assert body["serviceAccounts"][0]["email"] == AT.account("train")


def test_no_free_zone_and_other_refusals_are_told_apart(
    google: GoogleCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "ended", lambda *_: None)
    google.refusals["POST", "/instances"] = 403, "Quota 'GPUS_ALL_REGIONS' exceeded. Limit: 0.0"
    with pytest.raises(InputError, match=r"no T4 is free in us-central1-a: (.|\n)*quotas"):
        vm.train(AT, RUN, "image", 1, ["us-central1-a"])
    google.refusals["POST", "/instances"] = 403, "Required 'compute.instances.create' permission"
    with pytest.raises(GcloudError, match=r"compute\.instances\.create"):
        vm.train(AT, RUN, "image", 1, ["us-central1-a"])


def test_a_failed_training_is_one_here_too(google: GoogleCloud) -> None:
    assert vm.ended(AT, RUN) is None
    google.hold_object(AT.bucket, f"runs/{RUN}/status", b"3")
    with pytest.raises(InputError, match="ended with status 3"):
        vm.train(AT, RUN, "image", 1, ["us-central1-a"])
    assert google.objects == {}  # another try is not taken for this one


def test_a_job_of_vertex_ai_is_a_spot_one(
    google: GoogleCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(*_: str) -> None:
        for key, job in google.held.items():
            job["state"] = "JOB_STATE_FAILED" if "/customJobs/" in key else ""

    monkeypatch.setattr(vertex, "watch", finish)
    with pytest.raises(InputError, match="JOB_STATE_FAILED"):
        vertex.train(AT, RUN, "image@sha256:1", 2)
    for state in ("RUNNING", "SUCCEEDED"):
        for value in google.held.values():
            value["state"] = f"JOB_STATE_{state}"
        with pytest.raises(InputError, match="JOB_STATE_FAILED"):
            vertex.train(AT, RUN, "image@sha256:1", 2)  # follows the one that is there
    [job] = [value["jobSpec"] for key, value in google.held.items() if "/customJobs/" in key]
    assert job["scheduling"] == {
        "strategy": "SPOT",
        "restartJobOnWorkerRestart": True,
        "timeout": "7200s",
    }
    container = job["workerPoolSpecs"][0]["containerSpec"]
    assert container["imageUri"] == "image@sha256:1"
    env = {each["name"]: each["value"] for each in container["env"]}
    assert env["CHECKPOINTS"] == "/gcs/my-project-disaster-tweets/checkpoints"
    assert job["serviceAccount"] == AT.account("train")


def test_results_come_back_over_the_clone(
    google: GoogleCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("models/metrics.json")
        member.size = len(b"new")
        tar.addfile(member, io.BytesIO(b"new"))
    google.hold_object(
        "my-project-disaster-tweets", f"runs/{RUN}/results.tar.gz", packed.getvalue()
    )
    (here := tmp_path / "models").mkdir()
    (here / "metrics.json").write_text("old")
    monkeypatch.chdir(tmp_path)
    train.bring_back(AT, RUN)
    assert (here / "metrics.json").read_text() == "new"


def test_what_is_not_committed_or_not_built_is_not_trained(
    google: GoogleCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("init --quiet", "config user.name a", "config user.email a@b.c"):
        subprocess.run(["git", *command.split()], check=True)
    (tmp_path / "params.yaml").write_text("a: 1\n")
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "commit", "--quiet", "--message", "start"], check=True)
    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(InputError, match=r"no image .*/train:[0-9a-f]{12} yet: make images"):
        train.main()
    (tmp_path / "params.yaml").write_text("a: 2\n")
    with pytest.raises(InputError, match=r"not committed yet: params\.yaml"):
        train.main()


def test_a_build_gets_a_clone_of_the_commit(
    google: GoogleCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []

    def submit(*arguments: str) -> None:
        calls.append(arguments)
        clone = Path(arguments[2])
        assert (clone / ".git").is_dir()
        assert (clone / "Dockerfile.serve").exists()
        assert not (clone / ".venv").exists()

    monkeypatch.setattr(images, "watch", submit)
    images.build(AT, "c0ffee", "model1")
    assert "--config=deploy/release/cloudbuild.yaml" in calls[0]
    names = f"_IMAGES={AT.images},_COMMIT=c0ffee,_MODEL=model1"
    assert f"--substitutions={names}" in calls[0]


STUBS = {  # what the start-up script calls on a VM
    "curl": """case "${@: -1}" in
*/preempted) echo "$PREEMPTED" ;;
*/zone) echo projects/1/zones/us-central1-a ;;
*) basename "${@: -1}" ;;
esac""",
    "gcloud": '{ echo "$@"; [ "$2" != cp ] || cat; } >> "$LOG"',
    "docker": """[ "$1" = run ] || exit 0
trap 'sleep 0.5; exit 42' TERM
[ -z "$ENDS" ] || exit "$ENDS"
touch "$LOG.started"
while :; do sleep 0.1; done""",
} | dict.fromkeys(["nvidia-smi", "gcsfuse", "mkdir", "chown"], "")


@pytest.mark.parametrize(
    ("preempted", "ends", "status"),
    [("FALSE", "0", ["0"]), ("FALSE", "3", ["3"]), ("FALSE", "", ["42"]), ("TRUE", "", [])],
)
def test_a_vm_says_how_it_ended_and_is_deleted(
    tmp_path: Path, preempted: str, ends: str, status: list[str]
) -> None:
    for name, body in STUBS.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    script = subprocess.Popen(
        ["bash", vm.SCRIPT],
        env={"PATH": path, "LOG": str(log), "PREEMPTED": preempted, "ENDS": ends},
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    if not ends:
        assert wait_until(log.with_name("log.started").exists)
        os.killpg(script.pid, signal.SIGTERM)  # as systemd does where a machine is taken away
    said, _ = script.communicate(timeout=HANG)
    calls = log.read_text().splitlines()[1:]  # the first one is docker's login
    copied = ["storage cp - gs://bucket/runs/run/status --quiet", *status] if status else []
    assert calls == [*copied, "compute instances delete name --zone us-central1-a --quiet"]
    assert f"ended with status {status[0] if status else 42};" in said
