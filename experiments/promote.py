"""Give a stage such as prod to the model of this commit.

    python -m experiments.promote [STAGE] [--fresh FILE]

Versions and stages are git tags in the format of GTO (https://github.com/iterative/gto), which
`dvc artifacts get` understands. The model of the last commit gets a new version and the stage, if

- the workspace equals the commit and dvc.lock,
- the model reaches the minimums (`passed` is true), and
- it is not significantly worse than the model that has the stage: the 95 % interval of the
  difference in accuracy does not lie wholly below minus `promote.margin`, on the test split and
  on the newer labelled tweets of --fresh, such as a labelled sample of the prediction log.

`gto assign` gives the stage to an earlier version, without these checks (docs/promote.md).
"""

import tempfile
from pathlib import Path
from typing import Any

import gto.api
import pandas as pd
from dvc.exceptions import DvcException
from dvc.repo import Repo
from gto.constants import name_re
from gto.exceptions import ArtifactNotFound

from common.errors import InputError, run
from common.git import changed_files, get_shallow_remedy, git
from experiments.compare import Difference, compare_accuracy
from experiments.repository import (
    check_readable,
    find_stale,
    make_parser,
    read_data,
    shorten,
)
from locked.classifier import Classifier
from reader.canonical import canonical_texts
from stages import params
from stages.shared.labels import read_labels
from stages.shared.outputs import CLASSIFIER, LABELS, METRICS, PREPARED, get_csv_path

ARTIFACT = "classifier"  # of dvc.yaml


def promote(stage: str, fresh: Path | None = None) -> None:
    """Give `stage` to this commit's model.

    `fresh` is a CSV of newer tweets, with `text` and `label`.

    Raises:
        InputError: the model may not have the stage; the message says why.

    """
    if not name_re.match(stage):
        raise InputError(f"a stage has letters, digits, - _ and / only, not {stage!r}")
    stages_of = list_versions()
    _check_promotable()
    tags = git("tag", "--points-at", "HEAD").split()
    version = next((v for v in stages_of if f"{ARTIFACT}@{v}" in tags), "")
    previous = next((v for v, stages in stages_of.items() if stage in stages), "")
    if version and version == previous:
        print(f"{version} has {stage} already")
        return
    if previous:
        _check_not_worse(stage, previous, fresh)
    if not version:
        version = str(gto.api.register(".", ARTIFACT, "HEAD").version)
    tag = gto.api.assign(".", ARTIFACT, stage, version=version, force=True).tag
    print(f"{version} has {stage} now{f', after {previous}' if previous else ''}")
    print(f"to publish it:\n    dvc push\n    git push origin {ARTIFACT}@{version} '{tag}'")


def list_versions() -> dict[str, list[str]]:
    """Return the stages of each version; the newest version first."""
    try:
        entries: list[dict[str, Any]] = gto.api.show(".", ARTIFACT)
    except ArtifactNotFound:
        return {}
    return {
        entry["version"]: [each["stage"] for each in entry["stages"] if each["is_active"]]
        for entry in entries
        if entry["version"].startswith("v")  # others are commits that have a stage but no version
    }


def _check_promotable() -> None:
    if remedy := get_shallow_remedy():  # it lacks tags: a version could be given twice
        raise InputError(remedy)
    untracked = ("ls-files", "--others", "--exclude-standard", "--")  # missing in a clone
    parts = ("dvc.lock", "dvc.yaml", "params.yaml", "data", "models", "locked", "reader", "stages")
    if changed := changed_files() + git(*untracked, *parts).splitlines():
        raise InputError(f"not committed yet: {shorten(changed)}; commit, then promote")
    if stale := find_stale(missing=True):
        raise InputError(
            f"dvc.lock does not describe this workspace ({'; '.join(stale)}). Run `dvc repro` and "
            "commit, or `python -m experiments.restore` to have the committed outputs back"
        )
    if not read_data(None, METRICS)["passed"]:
        raise InputError(f"{METRICS}: passed is false: a minimum of params.yaml is not reached")


def _check_not_worse(stage: str, previous: str, fresh: Path | None) -> None:
    """Raise InputError if this commit's model is worse than the version `previous`."""
    margin = params.load().promote.margin
    test_sets = {"the test split": pd.read_parquet(PREPARED / "test.parquet")}
    if fresh:
        test_sets[str(fresh)] = read_unlearnt(fresh)
    with tempfile.TemporaryDirectory() as folder:
        previous_model = Path(folder) / ARTIFACT
        top, prefix = git("rev-parse", "--show-toplevel", "--show-prefix").splitlines()
        rev = f"{ARTIFACT}@{previous}"
        try:
            Repo.get(top, f"{prefix}{CLASSIFIER}", out=str(previous_model), rev=rev)
        except (DvcException, OSError) as error:
            raise InputError(f"{previous} cannot be fetched: {error}") from error
        gains = {name: _compare(previous_model, tweets) for name, tweets in test_sets.items()}
    for name, gain in gains.items():
        print(f"accuracy on {name}, minus that of {previous}: {gain}")
    if worse := [name for name, gain in gains.items() if gain.high < -margin]:
        raise InputError(
            f"{previous} keeps {stage}: this model is significantly worse, by more than "
            f"promote.margin = {margin}, on {' and '.join(worse)}"
        )


def read_unlearnt(file: Path) -> pd.DataFrame:
    """Return the tweets of a CSV, `text` and `target`, without those this model was trained on.

    Raises:
        InputError: it is no file of labelled tweets, or no tweet remains.

    """
    labelled = read_labels(file)
    tweets = pd.DataFrame({"text": labelled.texts, "target": labelled.truth})
    splits = [pd.read_parquet(PREPARED / f"{split}.parquet") for split in ("train", "validation")]
    texts = [text for split in splits for text in split["text"]]
    if event := get_csv_path(params.load().train.event, LABELS):
        texts += read_labels(event).texts
    is_new = ~pd.Series(canonical_texts(tweets["text"])).isin(canonical_texts(texts))
    if not is_new.any():
        raise InputError(f"{file}: this model was trained on all of its tweets")
    return tweets[is_new]


def _compare(previous_model: Path, tweets: pd.DataFrame) -> Difference:
    answers = []
    for folder in (CLASSIFIER, previous_model):
        classifier = Classifier(folder)
        probabilities = classifier.probabilities(tweets["text"].tolist())
        answers.append(probabilities >= classifier.manifest.threshold)
    return compare_accuracy(tweets["target"].to_numpy(dtype=bool), *answers)


def main() -> None:
    """Give the stage of the command line to this commit's model."""
    parser = make_parser("promote", __doc__)
    parser.add_argument("stage", nargs="?", default="prod", help="default: prod")
    parser.add_argument("--fresh", type=Path, help="a CSV of newer labelled tweets")
    options = parser.parse_args()
    if options.fresh and not options.fresh.is_file():
        parser.error(f"--fresh: {options.fresh} does not exist")
    check_readable()
    promote(options.stage, options.fresh)


if __name__ == "__main__":
    run(main)
