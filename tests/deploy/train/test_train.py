import os
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from common.errors import InputError
from deploy.google import GoogleProject
from deploy.release import images
from deploy.train import vertex, vm
from tests.conftest import HANG
from tests.deploy.conftest import Command
from tests.deploy.fake_gcloud import NOTHING, Gcloud, Refusal, flag
from tests.serve.running import wait_until

PROJECT = GoogleProject("my-project")
RUN = "disaster-tweets-train-c0ffee"
FILE = f"gs://{PROJECT.bucket}/runs/{RUN}"
FULL = "ZONE_RESOURCE_POOL_EXHAUSTED: the zone does not have enough resources available"


class Machines:
    """VMs: each writes its status if it has one, and is deleted."""

    def __init__(self, gcloud: Gcloud, *statuses: int | None) -> None:
        self.zone = ""
        self.status: int | None = None
        self.statuses = [*statuses]
        gcloud.answers |= {
            "compute instances create": self.create,
            "compute instances list": lambda *_: f"{self.zone}\n",
            "compute instances tail-serial-port-output": self.tail,
            f"storage cat {FILE}/status": self.cat,
        }

    def create(self, _name: str, *words: str) -> str:
        self.zone = flag(words, "zone")
        return ""

    def tail(self, *_: str) -> str:
        self.zone, self.status = "", self.statuses.pop(0)
        raise Refusal("Could not fetch serial port output: the VM does not exist")

    def cat(self, *_: str) -> str:
        if self.status is None:
            raise Refusal("The following URLs matched no objects or files")
        return f"{self.status}\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm, "SECONDS", 0)


def zones_of(gcloud: Gcloud) -> list[str]:
    return [flag(call, "zone") for call in gcloud.called("instances create")]


def test_a_full_zone_is_skipped_and_a_pre_empted_vm_replaced(
    gcloud: Gcloud, capsys: pytest.CaptureFixture[str]
) -> None:
    Machines(gcloud, None, 0)
    gcloud.refusals = [("create", FULL)]
    vm.train(PROJECT, RUN, "image@sha256:1", 1.5, ["us-central1-a", "us-central1-b"])
    assert zones_of(gcloud) == ["us-central1-a", "us-central1-b", "us-central1-a"]
    output = capsys.readouterr().out
    assert "us-central1-a: no T4 is free" in output
    assert f"{RUN} was pre-empted" in output
    first = gcloud.called("instances create")[0]
    assert {"--provisioning-model=SPOT", "--instance-termination-action=DELETE"} <= {*first}
    assert 5000 < int(flag(first, "max-run-duration")[:-1]) <= 5400
    assert flag(first, "metadata") == f"image=image@sha256:1,bucket={PROJECT.bucket},run={RUN}"
    assert Path(flag(first, "metadata-from-file").removeprefix("startup-script=")).exists()
    assert flag(first, "service-account") == PROJECT.account("train")
    assert not gcloud.called("storage rm")  # the results may be brought back again


@pytest.mark.parametrize(
    ("refusal", "status", "hours", "message", "tried"),
    [
        ("Quota 'GPUS_ALL_REGIONS' exceeded. Limit: 0.0", None, 1, "no T4 is free", 3),
        ("Required 'compute.instances.create' permission", None, 1, "instances.create", 1),
        ("", 3, 1, "ended with status 3", 1),
        ("", None, -1, "not finished after -1 hours", 0),
    ],
)
def test_an_end_without_a_model_is_explained(
    gcloud: Gcloud, refusal: str, status: int | None, hours: float, message: str, tried: int
) -> None:
    Machines(gcloud, status)
    zones = "us-central1-f\nus-west1-b\nus-central1-a\n"
    gcloud.answers["compute accelerator-types list"] = lambda *_: zones
    gcloud.refusals = [("create", refusal)] * 3 if refusal else []
    with pytest.raises(InputError, match=message):
        vm.train(GoogleProject("my-project", "us-west1"), RUN, "image", hours, [])
    assert zones_of(gcloud) == ["us-west1-b", "us-central1-a", "us-central1-f"][:tried]
    assert bool(gcloud.called("storage rm")) == bool(status)  # so that the next try starts anew


def test_a_job_of_vertex_ai_is_a_spot_job_and_followed_again(gcloud: Gcloud) -> None:
    jobs: list[dict[str, str]] = []

    def create(*words: str) -> dict[str, str]:
        config = Path(flag(words, "config")).read_text()
        for part in ("strategy: SPOT", "timeout: 7200s", "imageUri: image@sha256:1"):
            assert part in config
        assert f"/gcs/{PROJECT.bucket}/checkpoints" in config
        assert "$" not in config
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
    with pytest.raises(InputError, match="JOB_STATE_FAILED"):
        vertex.train(PROJECT, RUN, "image@sha256:1", 2)
    for _ in range(2):  # a new one after the failure, which is then followed
        vertex.train(PROJECT, RUN, "image@sha256:1", 2)
    assert len(jobs) == 2


def test_results_are_unpacked_over_the_clone(
    gcloud: Gcloud, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(target: str, *_: str) -> str:
        with tarfile.open(target, mode="w:gz") as tar:
            tar.add(new, "models/metrics.json")
        return ""

    Machines(gcloud, 0)
    gcloud.answers[f"storage cp {FILE}/results.tar.gz"] = copy
    monkeypatch.setattr(images, "commit", lambda: "c0ffee")
    monkeypatch.setattr(images, "built", lambda *_: "image@sha256:1")
    (new := tmp_path / "new").write_text("new")
    (metrics := tmp_path / "models/metrics.json").parent.mkdir()
    metrics.write_text("old")
    monkeypatch.chdir(tmp_path)
    command("train", "--zones", "us-central1-a")
    assert metrics.read_text() == "new"


def test_a_commit_needs_its_image_and_no_change(
    gcloud: Gcloud, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (path := tmp_path / "params.yaml").write_text("a: 1\n")
    name = "-c user.name=a -c user.email=a@b.c"
    for line in ("init --quiet", "add .", f"{name} commit --quiet --message start"):
        subprocess.run(["git", *line.split()], check=True)
    gcloud.answers["artifacts docker images describe"] = lambda *_: NOTHING
    with pytest.raises(InputError, match=r"no image .*/train:[0-9a-f]{12}: python -m deploy imag"):
        command("train")
    path.write_text("a: 2\n")
    with pytest.raises(InputError, match=r"not committed yet: params\.yaml"):
        command("train")


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
