"""Learning curves, by DVCLive and, where asked for, Weights & Biases."""

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dvc_data.hashfile.build import build
from dvc_data.hashfile.db.local import LocalHashFileDB
from dvc_objects.fs.local import LocalFileSystem
from dvclive import Live

if TYPE_CHECKING:
    from stages.params import Params


Row = tuple[int, dict[str, float]]  # step, figures by name


class Curves:
    """Files of every figure by step, the same ones whether a run was resumed or not.

    The speed goes to a folder beside `folder`, which is an output of the stage: to that, equal
    inputs give equal bytes.

    Args:
        folder: of the curves to make.
        p: all params, for W&B.
        on: whether to log at all; of a group of processes, one does.
        state: of the run to go on with.

    """

    def __init__(
        self, folder: Path, p: "Params", on: bool = True, state: dict[str, Any] | None = None
    ) -> None:
        self.on = on
        self.rows: list[Row] = []
        self.speeds: list[tuple[int, float]] = []
        if not on:
            return
        self.live = Live(str(folder), dvcyaml=None, save_dvc_exp=False)
        self.speed = Live(str(folder.with_name("speed")), dvcyaml=None, save_dvc_exp=False)
        self.wandb: Any = None
        if state:
            for step, figures in state["rows"]:
                self.log(step, figures)
            for step, rate in state["speeds"]:
                self.log_speed(step, rate)
        if p.runtime.wandb is not None:
            self.wandb = _start_wandb(p, state["wandb"] if state else None)

    def __enter__(self) -> Self:
        """Begin to log."""
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Finish all files; W&B learns whether the run failed."""
        if self.on:
            self.live.end()
            self.speed.end()
            if self.wandb:
                self.wandb.finish(exit_code=int(error is not None))

    def log(self, step: int, figures: dict[str, float]) -> None:
        """Add figures of a step, such as `train/loss`."""
        if not self.on:
            return
        self.rows.append((step, figures))
        self.live.step = step
        for name, value in figures.items():
            self.live.log_metric(name, value)
        if self.wandb:
            self.wandb.log({"step": step, **figures})

    def log_speed(self, step: int, rate: float) -> None:
        """Add the tweets per second of a step."""
        if not self.on:
            return
        self.speeds.append((step, rate))
        self.speed.step = step
        self.speed.log_metric("tweets_per_second", rate)
        if self.wandb:
            self.wandb.log({"step": step, "tweets_per_second": rate})

    def summarise(self, figures: dict[str, float]) -> None:
        """Add figures of the whole run."""
        if self.on:
            self.live.summary.update(figures)
            if self.wandb:
                self.wandb.summary.update(figures)

    def refer(self, model: Path) -> None:
        """Tell W&B which model came of the run: its DVC hash, not a copy."""
        if not self.wandb:
            return
        import wandb

        md5 = dvc_hash(model)
        artifact = wandb.Artifact(model.name, "model", metadata={"path": str(model), "md5": md5})
        artifact.add_reference(f"dvc:{md5}", name=model.name, checksum=False)
        self.wandb.log_artifact(artifact)

    def state(self) -> dict[str, Any] | None:
        """Return what a resumed run needs to go on with the same curves."""
        if not self.on:
            return None
        wandb_id = self.wandb.id if self.wandb else None
        return {"rows": self.rows, "speeds": self.speeds, "wandb": wandb_id}


def _start_wandb(p: "Params", run_id: str | None) -> Any:  # noqa: ANN401 - has no types for mypy
    import wandb  # only who asks for it waits for it

    try:
        online = "WANDB_MODE" in os.environ or wandb.login(prompt=False)
    except wandb.Error as error:  # the key is wrong, or nobody answers
        print(f"train: logging to W&B offline, since: {error}", file=sys.stderr)
        online = False
    run = wandb.init(
        project=p.runtime.wandb,
        id=run_id,
        resume="allow",
        name=os.environ.get("DVC_EXP_NAME"),
        group=os.environ.get("WANDB_RUN_GROUP", _group(p)),
        job_type="train",
        config=p.model_dump(),
        # An experiment may run in a folder that DVC deletes; its log stays in the repository.
        dir=str(Path(os.environ.get("DVC_ROOT", ".")) / "models"),
        mode=None if online else "offline",  # to be sent later, by `wandb sync`
    )
    run.define_metric("*", step_metric="step")
    return run


def _group(p: "Params") -> str:
    """Name the runs that differ in nothing but seeds."""
    sections = p.model_dump(include={"compute", "prepare", "model", "distill", "train"})
    for section in sections.values():
        section.pop("seed", None)
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()[:8]


def dvc_hash(folder: Path) -> str:
    """Return the hash that dvc.lock will have for an output folder."""
    files = LocalFileSystem()
    with tempfile.TemporaryDirectory() as draft:
        built = build(LocalHashFileDB(files, draft), str(folder), files, "md5", dry_run=True)
    return str(built[2].hash_info.value)
