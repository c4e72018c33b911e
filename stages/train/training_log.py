"""Logs the figures of a training by step, with DVCLive and, if params.yaml says so, W&B."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dvclive import Live

if TYPE_CHECKING:
    from stages.params import Params

SPEED = "tweets_per_second"  # name of the figure


class TrainingLog:
    """A file for each figure by step; a resumed run writes the same files as an uninterrupted one.

    The speed is written to a folder beside `folder`, which is an output of the stage and must be
    equal for equal inputs.
    """

    def __init__(
        self, folder: Path, p: "Params", is_on: bool = True, state: dict[str, Any] | None = None
    ) -> None:
        """Start logging to `folder`, or continue from `state`; one process only has `is_on`."""
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
        """Log figures of a step by name, such as `train/loss`."""
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
        """Log figures of the whole run; W&B also gets the hash of the weights."""
        self.live.summary.update(figures)
        if self.wandb:
            self.wandb.summary.update({**figures, "weights_sha256": weights_sha256})

    def state(self) -> dict[str, Any]:
        """Return the state with which a resumed run continues this log."""
        return {"rows": self.rows, "wandb": self.wandb.id if self.wandb else None}


def _start_wandb(p: "Params", run_id: str | None) -> Any:  # noqa: ANN401 - has no types for mypy
    """Return a new W&B run, or the resumed run `run_id`; it is offline without a login."""
    import wandb  # slow, and most runs do not need it

    try:
        online = "WANDB_MODE" in os.environ or wandb.login(prompt=False)
    except wandb.Error as error:  # wrong key or no network
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
