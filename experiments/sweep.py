"""Search for better params with Optuna; every trial is a DVC experiment on the last commit.

    python -m experiments.sweep --trials 20 'train.lr=tag(log,interval(2e-5,3e-4))'

The search space is in Hydra's syntax, as in `dvc exp run --queue -S` (a grid search), and may also
have interval(). Optuna chooses each trial by the results so far (TPE, Bergstra et al. 2011). It
minimises the loss on the validation split, because a test split that selects params can no longer
judge them. To resume a stopped sweep, repeat the command.
"""

import itertools
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from common.errors import InputError, run
from common.git import changed_files, git
from common.progress import Progress
from experiments.repository import Tree, check_readable, flatten, make_parser, shorten
from experiments.space import Space, read_space
from stages import params
from stages.shared.outputs import METRICS

OBJECTIVE = "validation_log_loss"  # the lower the better
FOLDER = Path("models/sweeps")  # of logs; DVC keeps the trials
NAME = "name"  # of a trial's experiment


def get_ref_prefix() -> str:
    """Return the prefix of the git refs of the last commit's experiments."""
    head = git("rev-parse", "HEAD").strip()
    return f"refs/exps/{head[:2]}/{head[2:]}/"


def read_trials(name: str, keys: Iterable[str]) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Yield a sweep's finished experiments on the last commit: name, values of `keys`, loss.

    Raises:
        InputError: an experiment has another value of a param that is not in `keys`.

    """
    base = dict(flatten(Tree("HEAD").read_yaml("params.yaml")))
    for ref in git("for-each-ref", "--format=%(refname)", get_ref_prefix()).split():
        experiment = ref.removeprefix(get_ref_prefix())
        loss = Tree(ref).read_json(METRICS).get(OBJECTIVE)
        if loss is None or not re.fullmatch(rf"{re.escape(name)}-\d+", experiment):
            continue
        values = dict(flatten(Tree(ref).read_yaml("params.yaml")))
        for key in sorted((values.keys() | base.keys()) - set(keys)):
            if values.get(key) != base.get(key):
                raise InputError(f"{experiment} has {key}={values.get(key)}. Choose another --name")
        yield experiment, {key: values.get(key) for key in keys}, loss


def sweep(name: str, space: Space, trials: int, jobs: int) -> optuna.Study:
    """Run experiments, `jobs` at a time, until there are `trials`; return all of them.

    Raises:
        InputError: the workspace has changes, or the name belongs to another sweep.

    """
    ref_prefix = get_ref_prefix()
    check_unchanged(ref_prefix)
    old_trials = list(read_trials(name, space))
    sampler = optuna.samplers.TPESampler(
        seed=len(old_trials), multivariate=True, constant_liar=jobs > 1
    )
    study = optuna.create_study(sampler=sampler, study_name=f"sweep {name}")
    try:
        study.add_trials(
            optuna.create_trial(
                params=values, distributions=dict(space), value=loss, user_attrs={NAME: experiment}
            )
            for experiment, values, loss in old_trials
        )
    except ValueError as error:
        raise InputError(
            f"{name} is a sweep over other params: {error}; try another --name"
        ) from error
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    old_names = {experiment for experiment, *_ in old_trials}
    old_names |= {log.stem for log in (FOLDER / name).glob("*.log")}
    names = (new for n in itertools.count(1) if (new := f"{name}-{n}") not in old_names)
    study_lock = threading.Lock()

    def run_next() -> None:
        with study_lock:
            check_unchanged(ref_prefix)
            trial = study.ask(dict(space))
            trial.set_user_attr(NAME, next(names))
        loss = run_trial(name, trial.user_attrs[NAME], trial.params, is_alone=jobs == 1)
        with study_lock:
            study.tell(trial, loss, TrialState.FAIL if loss is None else None)
        progress.update()

    with (
        Progress(desc=f"sweep {name}", total=trials, initial=len(old_trials)) as progress,
        ThreadPoolExecutor(jobs) as pool,
    ):
        try:
            for future in [pool.submit(run_next) for _ in range(trials - len(old_trials))]:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C or an error, no further trials
    return study


def check_unchanged(ref_prefix: str) -> None:
    """Raise InputError if the workspace has changes or another commit than at the start."""
    for _ in range(10):
        if not (changed := changed_files()):
            break
        time.sleep(0.5)  # DVC changes params.yaml for a moment when it starts another trial
    else:
        raise InputError(f"not committed yet: {shorten(changed)}; commit, then sweep")
    if get_ref_prefix() != ref_prefix:
        raise InputError("there is a new commit; the sweep's experiments belong to the last one")


def run_trial(sweep_name: str, name: str, values: dict[str, Any], is_alone: bool) -> float | None:
    """Run an experiment outside the workspace; return its loss, None if it fails."""
    overrides = [f"--set-param={key}={json.dumps(value)}" for key, value in values.items()]
    # Threads that spin while they wait are faster, unless several trials share the cores.
    environment = os.environ if is_alone else {"OMP_WAIT_POLICY": "passive", **os.environ}
    log = FOLDER / sweep_name / f"{name}.log"
    with log.open("w") as output:
        command = ["dvc", "--wait-for-lock", "exp", "run", "--temp", "--name", name, *overrides]
        process = subprocess.run(  # noqa: S603 - no shell
            command, env=environment, stdout=output, stderr=output, check=False
        )
    loss: float | None = Tree(f"{get_ref_prefix()}{name}").read_json(METRICS).get(OBJECTIVE)
    if process.returncode or loss is None:
        Progress.write(f"{name} failed: see {log}")
        return None
    Progress.write(f"{name}  {OBJECTIVE} {loss:.4f}  {' '.join(overrides)}")
    return loss


def main() -> None:
    """Run the sweep, and print the best trial."""
    parser = make_parser("sweep", __doc__)
    parser.add_argument("space", nargs="+", metavar="KEY=VALUES")
    parser.add_argument("--name", default="sweep", help="experiments are called NAME-1, NAME-2, …")
    parser.add_argument("--trials", type=int, default=20, help="number of trials in all")
    parser.add_argument("--jobs", type=int, default=1, help="number of trials at a time")
    options = parser.parse_args()
    if options.jobs < 1 or options.trials < 1:
        parser.error("--jobs and --trials begin at 1")
    if not re.fullmatch(r"\w[\w-]*", options.name):
        parser.error(f"--name: letters, digits, _ and - only, not {options.name!r}")
    check_readable()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = read_space(options.space, params.load())
    study = sweep(options.name, space, options.trials, options.jobs)
    complete = study.get_trials(states=[TrialState.COMPLETE])
    if not complete:
        raise InputError(f"every trial failed; the logs are in {FOLDER / options.name}")
    best = study.best_trial
    print(f"best of {len(complete)}: {OBJECTIVE} {best.value:.4f} with {best.params}")
    print(f"to apply it to the workspace:\n    dvc exp apply {best.user_attrs[NAME]}")


if __name__ == "__main__":
    run(main)
