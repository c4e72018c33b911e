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
from google.cloud import storage
from ruamel.yaml import YAML

from common.errors import InputError
from deploy.train import job
from deploy.train.job import commands, join
from tests.conftest import HANG, Project, copied, make_project
from tests.gcs import Cloud
from tests.serve.running import free_port, wait_until

CLUSTER = {
    "cluster": {"workerpool0": ["first:2222"], "workerpool1": ["second:2222", "third:2222"]},
    "task": {"type": "workerpool1", "index": 1},
}


def in_cloud(project: Project, cloud: Cloud) -> dict[str, str]:
    """Return the environment of a machine that knows no cloud but the emulated."""
    return project.environment(
        BUCKET="bucket",
        RUN="run",
        CHECKPOINTS=str(project.folder.with_name("checkpoints")),
        STORAGE_EMULATOR_HOST=cloud.url,
        CLOUDSDK_CONFIG=str(project.folder / "no-gcloud"),
        GOOGLE_CLOUD_PROJECT="my-project",
        NO_GCE_CHECK="true",
        GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT="false",
    )


def start(project: Project, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.train.job"],
            cwd=project.folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def untrained(pipeline: Project, folder: Path) -> Project:
    """Return a project, without git as in the image, whose training has never run."""
    project = copied(pipeline, folder)
    shutil.rmtree(project.folder / "models/checkpoint")
    shutil.rmtree(project.folder / ".dvc/cache/runs")
    for out in project.lock()["stages"]["train"]["outs"]:
        md5 = out["md5"]
        (project.folder / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}").unlink()
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    return project


def test_a_job_that_is_taken_away_goes_on_elsewhere(
    pipeline: Project, source: Path, base_model: Path, cloud: Cloud, tmp_path: Path
) -> None:
    bucket: storage.Bucket = cloud.client().create_bucket("bucket")
    first = untrained(pipeline, tmp_path / "first")
    process = start(first, in_cloud(first, cloud), log := tmp_path / "first.log")
    checkpoints = tmp_path / "checkpoints"
    assert wait_until(lambda: bool(list(checkpoints.glob("*/*.pt")))), log.read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=HANG) == 143
    assert "SIGTERM at step" in log.read_text()
    assert not list(bucket.list_blobs(prefix="runs/"))

    second = untrained(pipeline, tmp_path / "second")
    process = start(second, in_cloud(second, cloud), log := tmp_path / "second.log")
    assert process.wait(timeout=HANG) == 0, log.read_text()
    assert "going on from the checkpoint" in log.read_text()
    assert second.lock() == pipeline.lock()

    archive = tmp_path / "results.tar.gz"
    bucket.blob("runs/run/results.tar.gz").download_to_filename(archive)
    with tarfile.open(archive) as tar:
        tar.extractall(brought := tmp_path / "brought", filter="data")
    assert YAML(typ="safe").load(brought / "dvc.lock") == pipeline.lock()
    assert (brought / "models/metrics.json").exists()

    third = make_project(tmp_path / "third", source, base_model)
    (third.folder / "dvc.lock").write_bytes((brought / "dvc.lock").read_bytes())
    third.run("dvc", "config", "--local", "core.no_scm", "true")
    process = start(third, in_cloud(third, cloud), log := tmp_path / "third.log")
    assert process.wait(timeout=HANG) == 0, log.read_text()
    # What git keeps is not in the image, so that the stages that make it run again; none learns.
    assert re.findall(r"Running stage '(\w+)'", log.read_text()) == ["export", "evaluate"]
    assert third.lock() == pipeline.lock()


def test_several_machines_share_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "default_yaml_config_file", str(tmp_path / "new/config.yaml"))
    assert join(CLUSTER, gpus=2) == 2
    settings = YAML(typ="safe").load(tmp_path / "new/config.yaml")
    assert settings["num_machines"] == 3
    assert settings["num_processes"] == 6
    assert settings["machine_rank"] == 2
    assert (settings["main_process_ip"], settings["main_process_port"]) == ("first", 2222)
    assert join(CLUSTER | {"task": {"type": "workerpool0", "index": 0}}, gpus=1) == 0

    launch, pipeline = "accelerate launch", ["dvc", "repro"]
    assert commands(0, 3, launch, pipeline) == [pipeline]
    assert commands(2, 3, launch, pipeline) == [
        ["dvc", "repro", "distill"],
        ["accelerate", "launch", "-m", "stages", "train"],
    ]
    with pytest.raises(InputError, match=r"runtime\.launch is 'python'"):
        commands(0, 3, "python", pipeline)


def test_two_machines_share_one_training(pipeline: Project, tmp_path: Path) -> None:
    port = 0
    processes = []
    for rank in (0, 1):
        project = copied(pipeline, tmp_path / str(rank))
        shutil.rmtree(project.folder / "models/checkpoint")
        (project.folder / "models/metrics.json").unlink()
        params = project.params()
        params["runtime"]["launch"] = "accelerate launch"
        params["train"] |= {"epochs": 1, "precision": "fp32"}
        project.set_params(params)
        port = port or free_port()
        cluster = {
            "cluster": {"workerpool0": [f"127.0.0.1:{port}"], "workerpool1": ["127.0.0.1:1"]},
            "task": {"type": f"workerpool{rank}", "index": 0},
        }
        environment = project.environment(
            CLUSTER_SPEC=json.dumps(cluster), HF_HOME=str(tmp_path / f"home{rank}")
        )
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "deploy.train.job"],
                cwd=project.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        said = [process.communicate(timeout=HANG)[0] for process in processes]
    finally:
        for process in processes:
            process.terminate()  # it hands that on to what it started
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    assert (tmp_path / "0/models/metrics.json").exists()
    assert not (tmp_path / "1/models/checkpoint").exists()


@pytest.mark.slow
def test_the_status_is_that_of_the_command_and_a_signal_reaches_all_of_it(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "deploy.train.job"]
    assert subprocess.run([*run, "sh", "-c", "exit 7"], check=False).returncode == 7
    saves = f"trap 'sleep 0.3; touch {tmp_path}/saved; exit' TERM"
    script = f"({saves}; touch {tmp_path}/up; while :; do sleep 0.05; done) & wait"
    process = subprocess.Popen([*run, "bash", "-c", script])
    assert wait_until((tmp_path / "up").exists)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=HANG) == 143
    assert (tmp_path / "saved").exists()
