"""Runs the pipeline in the train image, with a bucket for its inputs and outputs.

    python -m deploy.train.job [COMMAND ...]

With the variable BUCKET, the job pulls the outputs of earlier runs from there and pushes its own;
the files for git go to runs/RUN/results.tar.gz. Without it, the job just runs the pipeline.
The stage gets the job's SIGTERM, as before a pre-emption, and saves a checkpoint. On several
machines of Vertex AI the first one runs the pipeline, and the others take part in the training.
"""

import base64
import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import google.auth
import torch
from accelerate.commands.config.config_args import default_yaml_config_file
from dvc.repo import Repo
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage

from common.atomic import new_file
from common.errors import InputError, run
from deploy.google import NAMING, WANDB_KEY
from stages import params

EXTRAS = ("dvc.lock", "models/speed", "models/wandb")  # no outputs of a stage, but for git too
GRACE = 25  # seconds; Google gives 30


def call(command: list[str]) -> int:
    """Run a command, forward signals, and return its status once all its processes ended.

    This is process 1 of the container; neither DVC nor a shell forwards signals.
    """
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - no shell

    def forward(number: int, _frame: object) -> None:
        os.killpg(process.pid, number)

    before = {n: signal.signal(n, forward) for n in (signal.SIGTERM, signal.SIGINT)}
    status = process.wait()
    end = time.monotonic() + GRACE
    while _lives(process.pid) and time.monotonic() < end:  # the command left processes of its own
        time.sleep(0.1)
    for number, handler in before.items():
        signal.signal(number, handler)
    return 128 - status if status < 0 else status


def _call_or_exit(command: list[str]) -> None:
    if status := call(command):
        sys.exit(status)


def _lives(group: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(-group, os.WNOHANG)  # orphans become children of process 1
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def join(cluster: dict[str, Any], gpus: int) -> int:
    """Write Accelerate's list of machines, and return this machine's rank.

    `cluster` is Vertex AI's CLUSTER_SPEC, see
    https://cloud.google.com/vertex-ai/docs/training/distributed-training.
    """
    pools: dict[str, list[str]] = cluster["cluster"]
    machines = [(pool, index) for pool in sorted(pools) for index in range(len(pools[pool]))]
    rank = machines.index((cluster["task"]["type"], cluster["task"]["index"]))
    address, _, port = pools[machines[0][0]][0].rpartition(":")
    settings = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",
        "use_cpu": gpus == 0,
        "num_machines": len(machines),
        "num_processes": len(machines) * max(gpus, 1),
        "machine_rank": rank,
        "main_process_ip": address,
        "main_process_port": int(port),
        "rdzv_backend": "static",
        "same_network": True,
        "mixed_precision": "no",
    }
    path = Path(default_yaml_config_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as draft:
        draft.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return rank


def commands(rank: int, machines: int, launch: str, pipeline: list[str]) -> list[list[str]]:
    """Return a machine's commands: the whole pipeline on the first, the training on the others."""
    if machines > 1 and launch.split()[:2] != ["accelerate", "launch"]:
        raise InputError(
            f"{machines} machines, but runtime.launch is {launch!r}: set it to `accelerate launch`"
        )
    if rank == 0:
        return [pipeline]
    return [[*pipeline, "distill"], [*shlex.split(launch), "-m", "stages", "train"]]


def upload(bucket: str, name: str) -> str:
    """Upload the files for git, and return their address."""
    with Repo() as repo:
        outs = [str(out) for out in repo.index.outs if not out.use_cache]
    target = f"runs/{name}/results.tar.gz"
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "results.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted({*outs, *EXTRAS}):
                if Path(path).exists():
                    tar.add(path)
        storage.Client().bucket(bucket).blob(target).upload_from_filename(archive)
    return f"gs://{bucket}/{target}"


def fetch_wandb_key() -> None:
    """Read the key of Weights & Biases from Secret Manager, or print that it logs offline."""
    try:
        credentials, project = google.auth.default(
            ["https://www.googleapis.com/auth/cloud-platform"]
        )
        url = f"https://secretmanager.googleapis.com/v1/projects/{project}/secrets/{WANDB_KEY}"
        answer = AuthorizedSession(credentials).get(f"{url}/versions/latest:access", timeout=10)
        answer.raise_for_status()
    except (GoogleAuthError, OSError) as error:
        print(f"job: Weights & Biases logs offline, without a key: {error}", flush=True)
    else:
        data = answer.json()["payload"]["data"]
        os.environ["WANDB_API_KEY"] = base64.b64decode(data).decode().strip()


def main() -> None:
    """Run a command, or the pipeline."""
    if sys.argv[1:]:
        sys.exit(call(sys.argv[1:]))
    bucket, p = os.environ.get("BUCKET"), params.load()
    if bucket:
        for command in NAMING:
            _call_or_exit(command.format(bucket=bucket).split())
    if p.runtime.wandb and "WANDB_API_KEY" not in os.environ:
        fetch_wandb_key()
    cluster = json.loads(os.environ.get("CLUSTER_SPEC") or "null")
    machines = sum(map(len, cluster["cluster"].values())) if cluster else 1
    rank = join(cluster, torch.cuda.device_count()) if machines > 1 else 0
    pipeline = ["dvc", "repro", *(["--pull"] if bucket else [])]
    for arguments in commands(rank, machines, p.runtime.launch, pipeline):
        print(f"job: {shlex.join(arguments)}", flush=True)
        _call_or_exit(arguments)
    if bucket and rank == 0:
        _call_or_exit(["dvc", "push"])
        print(f"job: {upload(bucket, os.environ.get('RUN', 'latest'))}", flush=True)


if __name__ == "__main__":
    run(main)
