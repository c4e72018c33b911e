"""Runs the pipeline in the train image, with a bucket for its inputs and outputs.

    python -m deploy.train.job [COMMAND ...]

With the variable BUCKET, the job pulls the outputs of earlier runs from there and pushes its own;
the files for git go to runs/RUN/results.tar.gz. Without it, the job just runs the pipeline.
The stage gets the job's SIGTERM, as before a pre-emption, and saves a checkpoint. On several
machines of Vertex AI the first one runs the pipeline, and the others take part in the training.
"""

import base64
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import google.auth
from dvc.repo import Repo
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage

from common.errors import InputError, run
from deploy.google import NAMING, WANDB_KEY
from stages import params

EXTRAS = ("dvc.lock", "models/speed", "models/wandb")  # no outputs of a stage, but for git too
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


def call(command: list[str]) -> None:
    """Run a command and forward signals to it; exit with its status unless that is 0.

    Neither DVC nor a shell forwards signals, and a stage saves a checkpoint after DVC has ended.
    """
    print(f"job: {shlex.join(command)}", flush=True)
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - no shell
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.killpg(process.pid, number))
    status = process.wait()
    end = time.monotonic() + 25  # of the 30 seconds that Google gives
    with suppress(ProcessLookupError):  # the group has no process left
        while time.monotonic() < end:
            with suppress(ChildProcessError):
                os.waitpid(-process.pid, os.WNOHANG)  # orphans become children of process 1
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if status:
        sys.exit(128 - status if status < 0 else status)


def join(cluster: dict[str, Any]) -> int:
    """Write Accelerate's list of machines, and return this machine's rank.

    `cluster` is Vertex AI's CLUSTER_SPEC, see
    https://cloud.google.com/vertex-ai/docs/training/distributed-training.
    """
    import torch  # slow, and only several machines need it
    from accelerate.commands.config.config_args import default_yaml_config_file

    gpus = torch.cuda.device_count()
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
    path.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return rank


def upload(bucket: str, name: str) -> None:
    """Upload the files for git."""
    with Repo() as repo:
        outs = [str(out) for out in repo.index.outs if not out.use_cache]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for path in filter(os.path.exists, sorted({*outs, *EXTRAS})):
            tar.add(path)
    blob = storage.Client().bucket(bucket).blob(f"runs/{name}/results.tar.gz")
    blob.upload_from_string(archive.getvalue())


def fetch_wandb_key() -> None:
    """Read the key of Weights & Biases from Secret Manager, or print that it logs offline."""
    try:
        credentials, project = google.auth.default(SCOPES)
        url = f"https://secretmanager.googleapis.com/v1/projects/{project}/secrets/{WANDB_KEY}"
        answer = AuthorizedSession(credentials).get(f"{url}/versions/latest:access", timeout=10)
        answer.raise_for_status()
    except (GoogleAuthError, OSError) as error:
        print(f"job: Weights & Biases logs offline, without a key: {error}", flush=True)
    else:
        key = base64.b64decode(answer.json()["payload"]["data"]).decode()
        os.environ["WANDB_API_KEY"] = key.strip()


def main() -> None:
    """Run a command, or the pipeline."""
    if sys.argv[1:]:
        return call(sys.argv[1:])
    bucket, p = os.environ.get("BUCKET"), params.load()
    if bucket:
        for command in NAMING:
            call(command.format(bucket=bucket).split())
    if p.runtime.wandb and "WANDB_API_KEY" not in os.environ:
        fetch_wandb_key()
    cluster = json.loads(os.environ.get("CLUSTER_SPEC") or '{"cluster": {}}')
    rank = 0
    if sum(map(len, cluster["cluster"].values())) > 1:
        if not p.runtime.launch.startswith("accelerate launch"):
            raise InputError("several machines need `runtime.launch: accelerate launch`")
        rank = join(cluster)
    pipeline = ["dvc", "repro", *(["--pull"] if bucket else [])]
    if rank:
        call([*pipeline, "distill"])
        call([*shlex.split(p.runtime.launch), "-m", "stages", "train"])
    else:
        call(pipeline)
        if bucket:
            call(["dvc", "push"])
            upload(bucket, os.environ.get("RUN", "latest"))
    return None


if __name__ == "__main__":
    run(main)
