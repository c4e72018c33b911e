"""Learning curves, by DVCLive and, where asked for, Weights & Biases."""

import os
from pathlib import Path
from typing import Any, Self

from dvclive import Live

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
        self, folder: Path, p: Params, on: bool = True, state: dict[str, Any] | None = None
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

    def state(self) -> dict[str, Any] | None:
        """Return what a resumed run needs to go on with the same curves."""
        if not self.on:
            return None
        wandb_id = self.wandb.id if self.wandb else None
        return {"rows": self.rows, "speeds": self.speeds, "wandb": wandb_id}


def _start_wandb(p: Params, run_id: str | None) -> Any:  # noqa: ANN401 - has no types for mypy
    import wandb  # only who asks for it waits for it

    online = "WANDB_MODE" in os.environ or wandb.login(prompt=False)
    run = wandb.init(
        project=p.runtime.wandb,
        id=run_id,
        resume="allow",
        config=p.model_dump(),
        dir="models",
        mode=None if online else "offline",  # to be sent later, by `wandb sync`
    )
    run.define_metric("*", step_metric="step")
    return run
