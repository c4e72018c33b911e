import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from accelerate.commands.config import config_args
from google.cloud import storage
from ruamel.yaml import YAML

from common.errors import InputError
from deploy.train import job
from tests.conftest import HANG, ROOT, Project
from tests.deploy.conftest import no_cloud
from tests.gcs import Cloud
from tests.serve.running import free_port, wait_until

JOB = (sys.executable, "-m", "deploy.train.job")
# The real train stage saves and resumes likewise: tests/stages/train/test_stage.py.
STAGES = """\
stages:
  prepare:
    cmd: cp params.yaml prepared
    deps: [params.yaml]
    outs: [prepared]
  train:
    cmd: bash train.sh
    deps: [prepared, train.sh]
    outs: [model]
  evaluate:
    cmd: cp model metrics
    deps: [model]
    outs: [metrics: {cache: false}]
"""
TRAIN = """\
trap 'sleep 0.3; echo half > "$CHECKPOINTS/checkpoint"; exit 143' TERM
cp "$CHECKPOINTS/checkpoint" model && exit
touch "$CHECKPOINTS/started"
while :; do sleep 0.05; done
"""
# Writes Accelerate's list of machines, starts itself by it, and gathers the ranks of all processes.
GATHER = """
import json, os, sys
if len(sys.argv) > 1:
    from deploy.train.job import join
    join(json.loads(sys.argv[1]))
    os.execvp(sys.executable, [sys.executable, "-m", "accelerate.commands.launch", "gather.py"])
from torch import distributed
distributed.init_process_group("gloo")
ranks = [None] * distributed.get_world_size()
distributed.all_gather_object(ranks, distributed.get_rank())
print(ranks)
"""


def machine(folder: Path, cloud: Cloud) -> tuple[Path, dict[str, str]]:
    """Return the folder of an image's code, without git, and its environment."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "train.sh").write_text(TRAIN)
    return folder, Project(folder, folder.with_name(f"{folder.name}-site-cache")).environment(
        BUCKET="bucket",
        RUN="run",
        CHECKPOINTS=str(folder.parent),
        PYTHONPATH=str(ROOT),
        STORAGE_EMULATOR_HOST=cloud.url,
        GOOGLE_CLOUD_PROJECT="my-project",
        **no_cloud(folder),
    )


def run_job(folder: Path, environment: dict[str, str]) -> list[str]:
    """Run a job to its end, and return the stages that ran."""
    process = subprocess.run(
        JOB, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return re.findall(r"Running stage '(\w+)'", process.stdout)


def test_a_job_that_is_taken_away_goes_on_elsewhere(cloud: Cloud, tmp_path: Path) -> None:
    bucket: storage.Bucket = cloud.client().create_bucket("bucket")
    first, environment = machine(tmp_path / "first", cloud)
    with subprocess.Popen(JOB, cwd=first, env=environment) as process:
        assert wait_until((tmp_path / "started").exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=HANG) == 143
    assert (tmp_path / "checkpoint").exists()  # though DVC ended before the stage
    assert not list(bucket.list_blobs(prefix="runs/"))

    assert run_job(*machine(tmp_path / "second", cloud)) == ["prepare", "train", "evaluate"]
    archive = tmp_path / "results.tar.gz"
    bucket.blob("runs/run/results.tar.gz").download_to_filename(archive)
    third, environment = machine(tmp_path / "third", cloud)
    with tarfile.open(archive) as tar:
        tar.extractall(third, filter="data")
    (third / "dvc.yaml").write_text(STAGES.replace("cp model metrics", "wc -c < model > metrics"))
    assert run_job(third, environment) == ["evaluate"]  # the rest comes from the bucket
    assert (third / "metrics").read_text() == "5\n"


def test_the_status_is_that_of_the_command() -> None:
    assert subprocess.run([*JOB, "sh", "-c", "exit 7"], cwd=ROOT, check=False).returncode == 7


def cluster(rank: int, port: int) -> str:
    """Return Vertex AI's description of two machines, on this one."""
    pools = {"workerpool0": [f"127.0.0.1:{port}"], "workerpool1": ["127.0.0.1:1"]}
    return json.dumps({"cluster": pools, "task": {"type": f"workerpool{rank}", "index": 0}})


def test_the_first_machine_runs_the_pipeline_and_the_second_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(job, "call", lambda command: calls.append(" ".join(command)))
    monkeypatch.setattr(config_args, "default_yaml_config_file", str(tmp_path / "new/config.yaml"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(sys, "argv", ["job"])
    monkeypatch.delenv("BUCKET", raising=False)
    for rank in (0, 1):
        monkeypatch.setenv("CLUSTER_SPEC", cluster(rank, 2222))
        monkeypatch.chdir(ROOT)
        with pytest.raises(InputError, match="accelerate launch"):
            job.main()
        text = (ROOT / "params.yaml").read_text()
        text = text.replace("launch: python", "launch: accelerate launch")
        (tmp_path / "params.yaml").write_text(text)
        monkeypatch.chdir(tmp_path)
        job.main()
    assert calls == ["dvc repro", "dvc repro distill", "accelerate launch -m stages train"]
    settings = YAML(typ="safe").load(tmp_path / "new/config.yaml")
    assert settings["num_processes"] == 4
    assert (settings["main_process_ip"], settings["main_process_port"]) == ("127.0.0.1", 2222)


def test_accelerate_finds_the_machines(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "gather.py").write_text(GATHER)
    machines = [
        subprocess.Popen(
            [sys.executable, "gather.py", cluster(rank, port)],
            cwd=tmp_path,
            env=os.environ | {"HF_HOME": str(tmp_path / f"home{rank}"), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        outputs = [machine.communicate(timeout=HANG)[0] for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert ["[0, 1]" in output for output in outputs] == [True, True], "\n".join(outputs)
