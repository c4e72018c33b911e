import io
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from common.errors import InputError
from deploy import __main__ as deploy
from deploy.google import GcloudError, GoogleProject
from deploy.train import bring_back, vertex, vm
from tests.conftest import HANG
from tests.deploy.fake_gcloud import NOTHING, Gcloud, Json, Refusal, flag
from tests.serve.running import wait_until

PROJECT = GoogleProject("my-project")
RUN = "disaster-tweets-train-c0ffee"
STATUS = f"storage cat gs://{PROJECT.bucket}/runs/{RUN}/status"
FULL = "ZONE_RESOURCE_POOL_EXHAUSTED: the zone does not have enough resources available"


class Machines:
    """VMs: each prints its part of the output, writes its status if it has one, and is gone."""

    def __init__(self, gcloud: Gcloud, *lives: tuple[list[str], int | None]) -> None:
        self.zone = ""
        self.lives = [*lives]
        self.output: list[str] = []
        self.gcloud = gcloud
        gcloud.answers |= {
            "compute instances create": self.create,
            "compute instances list": self.find,
            "compute instances get-serial-port-output": self.print,
            STATUS: self.no_status,
        }

    def no_status(self, *_: str) -> Json:
        raise Refusal("The following URLs matched no objects or files")

    def create(self, _name: str, *words: str) -> str:
        self.zone = flag(words, "zone")
        self.output = list(self.lives[0][0])
        return ""

    def find(self, *_: str) -> Json:
        return [{"zone": f"zones/{self.zone}"}] if self.zone else []

    def print(self, *_: str) -> Json:
        if self.output:
            return {"contents": self.output.pop(0), "next": "7"}
        self.zone = ""
        status = self.lives.pop(0)[1]
        if status is not None:
            self.gcloud.answers[STATUS] = lambda *_: str(status)
        return NOTHING


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm, "SECONDS", 0)


def test_zones_are_those_that_have_t4s_the_nearest_first(gcloud: Gcloud) -> None:
    names = ("europe-west4-a", "us-west1-b", "us-central1-f", "us-central1-a")
    listed = [{"zone": f"https://compute/zones/{name}"} for name in names]
    gcloud.answers["compute accelerator-types list"] = lambda *_: listed
    assert vm.zones(PROJECT, []) == ["us-central1-a", "us-central1-f", "us-west1-b"]
    assert vm.zones(PROJECT, ["asia-east1-a"]) == ["asia-east1-a"]
    with pytest.raises(InputError, match="no zone near africa-south1"):
        vm.zones(GoogleProject("my-project", "africa-south1"), [])


def test_a_full_zone_is_skipped_and_a_pre_empted_vm_replaced(
    gcloud: Gcloud, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = ["boot noise\nx startup-script: train: ep", "och 1/2\r\n"]
    Machines(gcloud, (printed, None), ([], 0))
    gcloud.refusals = [("create", FULL)]
    vm.train(PROJECT, RUN, "image@sha256:1", 1.5, ["us-central1-a", "us-central1-b"])
    creations = gcloud.called("instances create")
    zones = [flag(call, "zone").rpartition("-")[2] for call in creations]
    assert zones == ["a", "b", "a"]
    output = capsys.readouterr().out
    assert "us-central1-a: no T4 is free" in output
    assert "train: epoch 1/2\n" in output
    assert "noise" not in output
    assert f"us-central1-b took {RUN} away" in output
    first = creations[0]
    assert {"--provisioning-model=SPOT", "--instance-termination-action=DELETE"} <= {*first}
    assert 5000 < int(flag(first, "max-run-duration")[:-1]) <= 5400
    assert flag(first, "metadata") == f"image=image@sha256:1,bucket={PROJECT.bucket},run={RUN}"
    assert Path(flag(first, "metadata-from-file").removeprefix("startup-script=")).exists()
    assert flag(first, "service-account") == PROJECT.account("train")
    assert not gcloud.called("storage rm")  # the results may be brought back again


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        (
            "Quota 'GPUS_ALL_REGIONS' exceeded. Limit: 0.0",
            InputError,
            r"no T4 is free in us-central1-a: (.|\n)*quotas",
        ),
        ("Required 'compute.instances.create' permission", GcloudError, "instances.create"),
    ],
)
def test_a_full_zone_and_other_refusals_are_told_apart(
    gcloud: Gcloud, message: str, error: type[Exception], words: str
) -> None:
    Machines(gcloud)
    gcloud.refusals = [("create", message)]
    with pytest.raises(error, match=words):
        vm.train(PROJECT, RUN, "image", 1, ["us-central1-a"])


def test_a_failed_training_fails_here_too(gcloud: Gcloud) -> None:
    Machines(gcloud, ([], 3))
    with pytest.raises(InputError, match="ended with status 3"):
        vm.train(PROJECT, RUN, "image", 1, ["us-central1-a"])
    assert gcloud.calls[-1][:2] == ("storage", "rm")  # so that the next try starts anew


def test_the_time_limit_holds_for_all_vms_together(gcloud: Gcloud) -> None:
    Machines(gcloud, ([], None))
    with pytest.raises(InputError, match="not done after 0 hours"):
        vm.train(PROJECT, RUN, "image", 0, ["us-central1-a"])


def test_a_job_of_vertex_ai_is_a_spot_job_and_followed_again(gcloud: Gcloud) -> None:
    jobs: list[dict[str, str]] = []
    configs: list[str] = []

    def create(*words: str) -> dict[str, str]:
        configs.append(Path(flag(words, "config")).read_text())
        jobs.append({"name": f"jobs/{len(jobs) + 1}", "state": "JOB_STATE_RUNNING"})
        return jobs[-1]

    def end(name: str, *_: str) -> str:
        jobs[-1]["state"] = "JOB_STATE_SUCCEEDED" if name == "jobs/2" else "JOB_STATE_FAILED"
        return ""

    gcloud.answers |= {
        "ai custom-jobs list": lambda *_: jobs,
        "ai custom-jobs create": create,
        "ai custom-jobs stream-logs": end,
        "ai custom-jobs describe": lambda *_: jobs[-1],
    }
    with pytest.raises(InputError, match="JOB_STATE_FAILED: see the log above"):
        vertex.train(PROJECT, RUN, "image@sha256:1", 2)
    for _ in range(2):  # a new one after the failure, which is then followed
        vertex.train(PROJECT, RUN, "image@sha256:1", 2)
    assert len(jobs) == 2
    for words in ("strategy: SPOT", "timeout: 7200s", "imageUri: image@sha256:1"):
        assert words in configs[0]
    assert f"/gcs/{PROJECT.bucket}/checkpoints" in configs[0]
    assert "$" not in configs[0]


def test_results_are_unpacked_over_the_clone(
    gcloud: Gcloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(target: str, *_: str) -> str:
        with tarfile.open(target, mode="w:gz") as tar:
            member = tarfile.TarInfo("models/metrics.json")
            member.size = len(b"new")
            tar.addfile(member, io.BytesIO(b"new"))
        return ""

    gcloud.answers[f"storage cp gs://{PROJECT.bucket}/runs/{RUN}/results.tar.gz"] = copy
    (here := tmp_path / "models").mkdir()
    (here / "metrics.json").write_text("old")
    monkeypatch.chdir(tmp_path)
    bring_back(PROJECT, RUN)
    assert (here / "metrics.json").read_text() == "new"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, as the current folder."""
    monkeypatch.chdir(tmp_path)
    (path := tmp_path / "params.yaml").write_text("a: 1\n")
    for command in (
        "init --quiet",
        "add .",
        "-c user.name=a -c user.email=a@b.c commit --quiet --message start",
    ):
        subprocess.run(["git", *command.split()], check=True)
    return path


def test_a_commit_needs_its_image_and_no_change(
    gcloud: Gcloud, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcloud.answers["artifacts docker images describe"] = lambda *_: NOTHING
    monkeypatch.setattr(sys, "argv", ["deploy", "train"])
    message = r"no image .*/train:[0-9a-f]{12} yet: python -m deploy images"
    with pytest.raises(InputError, match=message):
        deploy.main()
    clone.write_text("a: 2\n")
    with pytest.raises(InputError, match=r"not committed yet: params\.yaml"):
        deploy.main()


STUBS = {  # the programs that the start-up script calls on a VM
    "curl": """case "${@: -1}" in
*/preempted) echo "$PREEMPTED" ;;
*/zone) echo projects/1/zones/us-central1-a ;;
*) basename "${@: -1}" ;;
esac""",
    "gcloud": '{ echo "$@"; [ "$2" != cp ] || cat; } >> "$LOG"',
    "docker": """[ "$1" = run ] || exit 0
trap 'sleep 0.1; exit 42' TERM
[ -z "$ENDS" ] || exit "$ENDS"
touch "$LOG.started"
while :; do sleep 0.05; done""",
} | dict.fromkeys(["nvidia-smi", "gcsfuse", "mkdir", "chown"], "")


@pytest.mark.parametrize(
    ("preempted", "ends", "status"),
    [("FALSE", "0", ["0"]), ("FALSE", "3", ["3"]), ("FALSE", "", ["42"]), ("TRUE", "", [])],
)
def test_a_vm_writes_its_status_and_is_deleted(
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
    output, _ = script.communicate(timeout=HANG)
    calls = log.read_text().splitlines()[1:]  # the first one is docker's login
    copied = ["storage cp - gs://bucket/runs/run/status --quiet", *status] if status else []
    assert calls == [*copied, "compute instances delete name --zone us-central1-a --quiet"]
    assert f"ended with status {status[0] if status else 42};" in output
