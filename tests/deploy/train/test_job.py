import json
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

from deploy.train.job import join
from tests.conftest import HANG, ROOT, Project, copied
from tests.deploy.conftest import no_cloud
from tests.gcs import Cloud
from tests.serve.running import free_port, wait_until

JOB = (sys.executable, "-m", "deploy.train.job")
yaml = YAML(typ="safe")
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
    job = subprocess.run(
        JOB, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert job.returncode == 0, job.stdout + job.stderr
    return re.findall(r"Running stage '(\w+)'", job.stdout)


def test_a_job_that_is_taken_away_goes_on_elsewhere(cloud: Cloud, tmp_path: Path) -> None:
    bucket: storage.Bucket = cloud.client().create_bucket("bucket")
    first, environment = machine(tmp_path / "first", cloud)
    with subprocess.Popen(JOB, cwd=first, env=environment) as job:
        assert wait_until((tmp_path / "started").exists)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=HANG) == 143
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
    assert (third / "metrics").read_text().strip() == "5"


def test_the_status_is_that_of_the_command() -> None:
    assert subprocess.run([*JOB, "sh", "-c", "exit 7"], cwd=ROOT, check=False).returncode == 7


def test_vertex_ai_names_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools = {"workerpool0": ["first:2222"], "workerpool1": ["second:2222", "third:2222"]}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    path = tmp_path / "new/config.yaml"
    monkeypatch.setattr(config_args, "default_yaml_config_file", str(path))
    assert join({"cluster": pools, "task": {"type": "workerpool1", "index": 1}}) == 2
    settings = yaml.load(path)
    assert settings["num_machines"] == 3
    assert settings["num_processes"] == 6
    assert settings["machine_rank"] == 2
    assert (settings["main_process_ip"], settings["main_process_port"]) == ("first", 2222)
    assert join({"cluster": pools, "task": {"type": "workerpool0", "index": 0}}) == 0


def test_two_machines_share_one_training(pipeline: Project, tmp_path: Path) -> None:
    pools = {"workerpool0": [f"127.0.0.1:{free_port()}"], "workerpool1": ["127.0.0.1:1"]}
    jobs = []
    for rank in (0, 1):
        project = copied(pipeline, tmp_path / str(rank))
        shutil.rmtree(project.folder / "models/checkpoint")
        stages = yaml.load(project.folder / "dvc.yaml")["stages"]
        stages = {name: stages[name] for name in ("prepare", "distill", "train")}
        yaml.dump({"stages": stages}, project.folder / "dvc.yaml")
        params = project.params()
        params["runtime"]["launch"] = "accelerate launch"
        params["train"] |= {"epochs": 1, "precision": "fp32"}
        project.set_params(params)
        cluster = {"cluster": pools, "task": {"type": f"workerpool{rank}", "index": 0}}
        environment = project.environment(
            CLUSTER_SPEC=json.dumps(cluster), HF_HOME=str(tmp_path / f"home{rank}")
        )
        jobs.append(
            subprocess.Popen(
                JOB,
                cwd=project.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        outputs = [job.communicate(timeout=HANG)[0] for job in jobs]
    finally:
        for job in jobs:
            job.terminate()  # it forwards the signal to the processes that it started
    assert [job.returncode for job in jobs] == [0, 0], "\n".join(outputs)
    assert (tmp_path / "0/models/checkpoint").exists()
    assert not (tmp_path / "1/models/checkpoint").exists()
