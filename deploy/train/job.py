"""What the train image runs: the pipeline, with a bucket to take from and to bring to.

    python -m deploy.train.job [COMMAND ...]

With the variable BUCKET, what earlier runs pushed is taken from there, what this one makes is
pushed there, and what belongs into git goes to runs/RUN/results.tar.gz. Without it the pipeline
just runs.
SIGTERM, as before a pre-emption, is handed to the stage, which saves first. On several machines of
Vertex AI the first one runs the pipeline, and the others take their share of the training.
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

EXTRAS = ("dvc.lock", "models/speed", "models/wandb")  # wanted though no stage's output
GRACE = 25  # seconds; Google gives 30


def call(command: list[str]) -> int:
    """Run a command, hand on to it what asks to end, and return its status once all of it ended.

    As process 1 of a container nobody else would: neither DVC nor a shell hands signals on.
    """
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - no shell

    def hand_on(number: int, _frame: object) -> None:
        os.killpg(process.pid, number)

    before = {n: signal.signal(n, hand_on) for n in (signal.SIGTERM, signal.SIGINT)}
    status = process.wait()
    end = time.monotonic() + GRACE
    while _lives(process.pid) and time.monotonic() < end:  # what the command started and left
        time.sleep(0.1)
    for number, handler in before.items():
        signal.signal(number, handler)
    return 128 - status if status < 0 else status


def _lives(group: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(-group, os.WNOHANG)  # orphans come to process 1
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def join(cluster: dict[str, Any], gpus: int) -> int:
    """Tell Accelerate which machines there are, and return which of them this is.

    Args:
        cluster: what Vertex AI has in CLUSTER_SPEC
            (https://cloud.google.com/vertex-ai/docs/training/distributed-training).
        gpus: of each machine.

    """
    pools: dict[str, list[str]] = cluster["cluster"]
    machines = [(pool, at) for pool in sorted(pools) for at in range(len(pools[pool]))]
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
    """Return what a machine runs: the first one the pipeline, the others as far as the training.

    Raises:
        InputError: there are several machines, and `runtime.launch` would use just the first.

    """
    if machines > 1 and launch.split()[:2] != ["accelerate", "launch"]:
        raise InputError(
            f"{machines} machines, but runtime.launch is {launch!r}: make it `accelerate launch`"
        )
    if rank == 0:
        return [pipeline]
    return [[*pipeline, "distill"], [*shlex.split(launch), "-m", "stages", "train"]]


def keep(bucket: str, name: str) -> str:
    """Put what belongs into git in the bucket, and return where it is."""
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
    """Take the key of Weights & Biases from Secret Manager, or say that it logs offline."""
    try:
        credentials, project = google.auth.default(
            ["https://www.googleapis.com/auth/cloud-platform"]
        )
        url = f"https://secretmanager.googleapis.com/v1/projects/{project}/secrets/{WANDB_KEY}"
        answer = AuthorizedSession(credentials).get(f"{url}/versions/latest:access", timeout=10)
        answer.raise_for_status()
    except (GoogleAuthError, OSError) as error:
        print(f"job: no key of Weights & Biases, so it logs offline: {error}", flush=True)
    else:
        data = answer.json()["payload"]["data"]
        os.environ["WANDB_API_KEY"] = base64.b64decode(data).decode().strip()


def main() -> None:
    """Run a command, or the pipeline."""
    if sys.argv[1:]:
        sys.exit(call(sys.argv[1:]))
    bucket, p = os.environ.get("BUCKET"), params.load()
    if bucket:
        for naming in NAMING:
            if status := call(naming.format(bucket=bucket).split()):
                sys.exit(status)
    if p.runtime.wandb and "WANDB_API_KEY" not in os.environ:
        fetch_wandb_key()
    cluster = json.loads(os.environ.get("CLUSTER_SPEC") or "null")
    machines = sum(map(len, cluster["cluster"].values())) if cluster else 1
    rank = join(cluster, torch.cuda.device_count()) if machines > 1 else 0
    pipeline = ["dvc", "repro", *(["--pull"] if bucket else [])]
    for command in commands(rank, machines, p.runtime.launch, pipeline):
        print(f"job: {shlex.join(command)}", flush=True)
        if status := call(command):
            sys.exit(status)
    if bucket and rank == 0:
        if status := call(["dvc", "push"]):
            sys.exit(status)
        print(f"job: {keep(bucket, os.environ.get('RUN', 'latest'))}", flush=True)


if __name__ == "__main__":
    run(main)
