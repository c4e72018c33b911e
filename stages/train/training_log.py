"""The figures of a training by step, for DVCLive and, if params.yaml asks for it, W&B."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dvclive import Live

if TYPE_CHECKING:
    from stages.params import Params

SPEED = "tweets_per_second"


class TrainingLog:
    """Files of each figure by step, the same ones whether a run was resumed or not.

    The speed goes to a folder beside `folder`: `folder` is an output of the stage, and equal inputs
    give an equal output.
    """

    def __init__(
        self, folder: Path, p: "Params", is_on: bool = True, state: dict[str, Any] | None = None
    ) -> None:
        """Begin to log to `folder`, or go on from a `state`; only one process has it on."""
        self.is_on = is_on
        self.rows: list[tuple[int, dict[str, float]]] = []  # step, figures by name
        self.wandb: Any = None
        if not is_on:
            return
        self.live, self.speed = (
            Live(str(path), dvcyaml=None, save_dvc_exp=False)
            for path in (folder, folder.with_name("speed"))
        )
        for step, figures in state["rows"] if state else []:
            self.log(step, figures)
        if p.runtime.wandb is not None:
            self.wandb = _start_wandb(p, state["wandb"] if state else None)

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Finish all files, and tell W&B whether the run failed."""
        if self.is_on:
            self.live.end()
            self.speed.end()
        if self.wandb:
            self.wandb.finish(exit_code=int(error is not None))

    def log(self, step: int, figures: dict[str, float]) -> None:
        """Add figures of a step, such as `train/loss`."""
        if not self.is_on:
            return
        self.rows.append((step, figures))
        for name, value in figures.items():
            live = self.speed if name == SPEED else self.live
            live.step = step
            live.log_metric(name, value)
        if self.wandb:
            self.wandb.log({"step": step, **figures})

    def summarise(self, figures: dict[str, float], weights_sha256: str) -> None:
        """Add figures of the whole run; for W&B, also which weights it gave."""
        self.live.summary.update(figures)
        if self.wandb:
            self.wandb.summary.update({**figures, "weights_sha256": weights_sha256})

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on with the same log."""
        return {"rows": self.rows, "wandb": self.wandb.id if self.wandb else None}


def _start_wandb(p: "Params", run_id: str | None) -> Any:  # noqa: ANN401 - has no types for mypy
    import wandb  # it takes long, and most runs do without

    try:
        online = "WANDB_MODE" in os.environ or wandb.login(prompt=False)
    except wandb.Error as error:  # the key is wrong, or there is no network
        print(f"train: logging to W&B offline, because: {error}", file=sys.stderr)
        online = False
    run = wandb.init(
        project=p.runtime.wandb,
        id=run_id,
        resume="allow",
        name=os.environ.get("DVC_EXP_NAME"),
        job_type="train",
        config=p.model_dump(),
        # An experiment may run in a folder that DVC deletes; its log stays in the repository.
        dir=str(Path(os.environ.get("DVC_ROOT", ".")) / "models"),
        mode=None if online else "offline",  # `wandb sync` sends it later
    )
    run.define_metric("*", step_metric="step")
    return run
