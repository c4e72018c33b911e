"""Search for better params: every trial is a DVC experiment on the last commit.

    python -m experiments.sweep 'train.lr=5e-5,1e-4' 'train.epochs=range(1,4)'
    python -m experiments.sweep --trials 20 'train.lr=tag(log,interval(2e-5,3e-4))'

The space is in Hydra's words, as `dvc exp run --queue -S` has them, and interval() besides. Without
--trials, every combination is tried. With it, Optuna chooses by what came before (TPE, Bergstra et
al. 2011). The loss on the validation split decides: chosen by the test split, no figure of it
would be worth anything. A sweep that was stopped goes on when it is called again.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import optuna
import vl_convert
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from common.atomic import new_file
from common.errors import InputError, run
from common.git import changed_files, git
from common.progress import Progress
from experiments.repository import Run, flat, named
from experiments.space import Space, Values, combinations, read_space
from stages import params
from stages.shared.outputs import METRICS

OBJECTIVE = "validation_log_loss"  # the lower the better
FOLDER = Path("models/sweeps")  # pictures and logs; the trials themselves are DVC's
NAME = "name"  # of a trial's experiment
RUN = ["dvc", "--wait-for-lock", "exp", "run", "--temp"]


@dataclass(frozen=True)
class Experiment:
    """A trial that is done."""

    name: str
    values: Values
    objective: float


def place() -> str:
    """Return where git keeps the finished experiments on the last commit."""
    head = git("rev-parse", "HEAD").strip()
    return f"refs/exps/{head[:2]}/{head[2:]}/"


def experiments(name: str, keys: Iterable[str]) -> list[Experiment]:
    """Find a sweep's finished experiments on the last commit.

    Raises:
        InputError: in one, something else than `keys` varies.

    """
    base, found = dict(flat(Run("HEAD").yaml("params.yaml"))), []
    for ref in git("for-each-ref", "--format=%(refname)", place()).split():
        experiment, one = ref.removeprefix(place()), Run(ref)
        objective = one.json(METRICS).get(OBJECTIVE)
        if objective is None or not re.fullmatch(rf"{re.escape(name)}-\d+", experiment):
            continue
        values = dict(flat(one.yaml("params.yaml")))
        for key in sorted((values.keys() | base.keys()) - set(keys)):
            if values.get(key) != base.get(key):
                raise InputError(f"{experiment} has {key}={values.get(key)}; try another --name")
        found.append(Experiment(experiment, {key: values.get(key) for key in keys}, objective))
    return found


def sweep(name: str, space: Space, trials: int | None, jobs: int) -> optuna.Study:
    """Run experiments until there are `trials`, or all combinations; `jobs` at a time.

    Raises:
        InputError: the workspace has changes, or the name is that of another sweep.

    """
    start = place()
    check_unchanged(start)
    before = experiments(name, space)
    sampler = optuna.samplers.TPESampler(
        seed=len(before), multivariate=True, constant_liar=jobs > 1
    )
    study = optuna.create_study(sampler=sampler, study_name=f"sweep {name}")
    try:
        for one in before:
            study.add_trial(
                optuna.create_trial(
                    params=one.values,
                    distributions=dict(space),
                    value=one.objective,
                    user_attrs={NAME: one.name},
                )
            )
    except ValueError as error:
        raise InputError(f"{name} is a sweep over something else: {error}; try --name") from error
    if trials is None:
        tried = [one.values for one in before]
        left = [values for values in combinations(space) if values not in tried]
        for values in left:
            study.enqueue_trial(values)
        trials = len(before) + len(left)
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    taken = {one.name for one in before} | {log.stem for log in (FOLDER / name).glob("*.log")}
    names = (new for n in itertools.count(1) if (new := f"{name}-{n}") not in taken)

    def run_next() -> None:
        with study_lock:
            check_unchanged(start)
            trial = study.ask(dict(space))
            trial.set_user_attr(NAME, next(names))
        objective = _run(name, trial.user_attrs[NAME], trial.params, alone=jobs == 1)
        with study_lock:
            if objective is None:
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, objective)
        progress.update()

    study_lock = threading.Lock()
    with (
        Progress(desc=f"sweep {name}", total=trials, initial=len(before)) as progress,
        ThreadPoolExecutor(jobs) as pool,
    ):
        try:
            for future in [pool.submit(run_next) for _ in range(trials - len(before))]:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C or an error, no further ones
    return study


def check_unchanged(start: str) -> None:
    """Raise InputError where a trial would not begin from the commit of `start` as it is."""
    for _ in range(10):
        if not (changed := changed_files()):
            break
        time.sleep(0.5)  # for a moment, DVC itself changes params.yaml to begin another trial
    else:
        raise InputError(f"not committed yet: {named(changed)}; commit, then sweep")
    if place() != start:
        raise InputError("there is a new commit; the sweep's experiments are those of the last")


def _run(sweep_name: str, name: str, values: Values, alone: bool) -> float | None:
    """Run an experiment away from the workspace; return the objective, or None if it fails."""
    overrides = [f"--set-param={key}={json.dumps(value)}" for key, value in values.items()]
    # Threads that spin while they wait are faster, but for other trials on the same cores.
    environment = os.environ if alone else {"OMP_WAIT_POLICY": "passive", **os.environ}
    log = FOLDER / sweep_name / f"{name}.log"
    with log.open("w") as output:
        done = subprocess.run(  # noqa: S603 - no shell
            [*RUN, "--name", name, *overrides],
            env=environment,
            stdout=output,
            stderr=output,
            check=False,
        )
    found: float | None = Run(f"{place()}{name}").json(METRICS).get(OBJECTIVE)
    if done.returncode or found is None:
        Progress.write(f"{name} failed: {log} says why")
        return None
    Progress.write(f"{name}  {OBJECTIVE} {found:.4f}  {' '.join(overrides)}")
    return found


def picture(study: optuna.Study) -> str:
    """Draw the objective over each param, and how much each matters, as SVG."""
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    rows = [{**trial.params, OBJECTIVE: trial.value, **trial.user_attrs} for trial in done]
    panels: list[dict[str, object]] = []
    for key, of in study.best_trial.distributions.items():
        kind = "ordinal" if isinstance(of, CategoricalDistribution) else "quantitative"
        scale = {"type": "log"} if getattr(of, "log", False) else {"zero": False}
        x: dict[str, object] = {"field": _field(key), "type": kind, "title": key}
        if kind == "quantitative":
            x["scale"] = scale
        y = {"field": OBJECTIVE, "type": "quantitative", "scale": {"zero": False}}
        point = {"type": "point", "filled": True}
        panels.append({"width": 220, "mark": point, "encoding": {"x": x, "y": y}})
    if len(done) > 1 and len(panels) > 1:
        shares = optuna.importance.get_param_importances(study)
        panels.append(
            {
                "data": {"values": [{"param": k, "importance": v} for k, v in shares.items()]},
                "mark": "bar",
                "encoding": {
                    "y": {"field": "param", "type": "nominal", "sort": "-x", "title": None},
                    "x": {"field": "importance", "type": "quantitative"},
                },
            }
        )
    return vl_convert.vegalite_to_svg(
        {"title": study.study_name, "data": {"values": rows}, "columns": 3, "concat": panels}
    )


def _field(key: str) -> str:
    return key.replace(".", "\\.")  # a bare dot would mean a field within a field


def main() -> None:
    """Read the command line, sweep, and say what was best."""
    parser = argparse.ArgumentParser(prog="python -m experiments.sweep", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("space", nargs="+", metavar="KEY=VALUES")
    parser.add_argument("--name", default="sweep", help="of the experiments: NAME-1, NAME-2, …")
    parser.add_argument("--trials", type=int, help="how many in all")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    chosen = parser.parse_args()
    if chosen.jobs < 1 or (chosen.trials is not None and chosen.trials < 1):
        parser.error("--jobs and --trials begin at 1")
    if not re.fullmatch(r"\w[\w-]*", chosen.name):
        parser.error(f"--name: letters, digits, _ and - only, not {chosen.name!r}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = read_space(chosen.space, params.load())
    study = sweep(chosen.name, space, chosen.trials, chosen.jobs)
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    if not done:
        raise InputError(f"no trial came to its end; {FOLDER / chosen.name} says why")
    with new_file(FOLDER / chosen.name / "sweep.svg") as draft:
        draft.write_text(picture(study), encoding="utf-8")
    best = study.best_trial
    print(f"best of {len(done)}: {OBJECTIVE} {best.value:.4f} with {best.params}")
    print(f"picture: {FOLDER / chosen.name / 'sweep.svg'}")
    print(f"to have it in the workspace:\n    dvc exp apply {best.user_attrs[NAME]}")


if __name__ == "__main__":
    run(main)
