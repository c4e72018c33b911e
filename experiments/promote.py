"""Give a stage such as prod to the model of this commit, or to an earlier version.

    python -m experiments.promote [STAGE] [--version VERSION] [--fresh FILE]

Versions and stages are git tags in the format of GTO (https://github.com/iterative/gto), which
`dvc artifacts get` understands. To roll back, name an earlier version with --version: it gets the
stage without further checks. Without --version, the model of the last commit gets a new version and
the stage, if

- the workspace equals the commit and dvc.lock,
- the model reaches the minimums (`passed` is true), and
- it is not worse than the model that has the stage: the 95 % interval of the difference in accuracy
  does not lie below minus `promote.margin`, on the test split and on the newer labelled tweets of
  --fresh, such as labelled tweets of the prediction log.
"""

import json
import tempfile
from pathlib import Path

import gto.api
import pandas as pd
from gto.constants import name_re

from common.errors import InputError, run
from common.git import changed_files, get_shallow_remedy, git
from experiments.compare import Difference, compare_accuracy
from experiments.fetch import ARTIFACT, fetch, list_versions, resolve
from experiments.repository import check_readable, find_stale, make_parser, shorten
from locked.classifier import Classifier
from locked.manifest import LockedModelError
from reader.canonical import canonical_texts
from reader.format import Format
from reader.open import opened
from stages import params
from stages.shared.labels import read_labels
from stages.shared.outputs import CLASSIFIER, LABELS, METRICS, PREPARED, file_of


def promote(stage: str, name: str | None, fresh: Path | None = None) -> str:
    """Give `stage` to the version `name`, or to this commit's model; return the version.

    `fresh` is a file of newer tweets, with `text` and `target`.

    Raises:
        InputError: the model may not have the stage; the message says why.

    """
    if not name_re.match(stage):
        raise InputError(f"a stage has letters, digits, - _ and / only, not {stage!r}")
    stages_of = list_versions()
    previous = next((v for v, stages in stages_of.items() if stage in stages), None)
    if name is not None:
        version = resolve(name)
    else:
        _check_promotable()
        tags = git("tag", "--points-at", "HEAD").split()
        version = next((v for v in stages_of if f"{ARTIFACT}@{v}" in tags), "")
        if previous and previous != version:
            _check_not_worse(stage, previous, fresh)
        if not version:
            version = str(gto.api.register(".", ARTIFACT, "HEAD").version)
    if previous == version:
        print(f"{version} has {stage} already")
    else:
        tag = gto.api.assign(".", ARTIFACT, stage, version=version, force=True).tag
        print(f"{version} has {stage} now{f', after {previous}' if previous else ''}")
        print(f"to publish it:\n    dvc push\n    git push origin {ARTIFACT}@{version} '{tag}'")
    return version


def _check_promotable() -> None:
    if remedy := get_shallow_remedy():  # it lacks tags: a version could be given twice
        raise InputError(remedy)
    untracked = ("ls-files", "--others", "--exclude-standard", "--")  # missing in a clone
    parts = ("dvc.lock", "dvc.yaml", "params.yaml", "models", "locked", "reader", "stages")
    if changed := changed_files() + git(*untracked, *parts).splitlines():
        raise InputError(f"not committed yet: {shorten(changed)}; commit, then promote")
    if stale := find_stale(missing=True):
        raise InputError(
            f"dvc.lock does not describe this workspace ({'; '.join(stale)}). Run `dvc repro` and "
            "commit, or `python -m experiments.restore` to have the committed outputs back"
        )
    if not json.loads(METRICS.read_text())["passed"]:
        raise InputError(f"{METRICS}: passed is false: a minimum of params.yaml is not reached")


def _check_not_worse(stage: str, previous: str, fresh: Path | None) -> None:
    """Raise InputError if this commit's model is worse than the version `previous`."""
    margin = params.load().promote.margin
    test_sets = {"the test split": pd.read_parquet(PREPARED / "test.parquet")}
    if fresh:
        test_sets[str(fresh)] = read_unlearnt(fresh)
    with tempfile.TemporaryDirectory() as folder:
        previous_model = Path(folder) / ARTIFACT
        fetch(previous, previous_model)
        gains = {name: _compare(previous_model, tweets) for name, tweets in test_sets.items()}
    for name, gain in gains.items():
        print(f"accuracy on {name}, minus that of {previous}: {gain}")
    if worse := [name for name, gain in gains.items() if gain.high < -margin]:
        raise InputError(
            f"{previous} keeps {stage}: this model is significantly worse, by more than "
            f"promote.margin = {margin}, on {' and '.join(worse)}"
        )


def read_unlearnt(file: Path) -> pd.DataFrame:
    """Return the tweets of a file, `text` and `target`, without those this model was trained on.

    Raises:
        InputError: it cannot be read, a target is not 0 or 1, or no tweet remains.

    """
    with opened(str(file), Format(label="target", labels=frozenset({"0", "1"}))) as table:
        names = [table.column(name, "rename one") for name in ("text", "target")]
        parts = [chunk.table.to_pandas() for chunk in table.chunks(names)]
    tweets = pd.concat(parts).set_axis(["text", "target"], axis=1).astype(str)
    if invalid := sorted(set(tweets["target"]) - {"0", "1"}):
        raise InputError(f"{file}: target must be 0 or 1 (got {invalid[0]!r})")
    splits = [pd.read_parquet(PREPARED / f"{split}.parquet") for split in ("train", "validation")]
    p = params.load()
    labels = file_of(p.train.event, LABELS)
    texts = [text for split in splits for text in split["text"]]
    learnt_texts = set(canonical_texts(texts + (read_labels(labels).texts if labels else [])))
    is_new = [text not in learnt_texts for text in canonical_texts(tweets["text"])]
    if not any(is_new):
        raise InputError(f"{file}: this model was trained on all of its tweets")
    return pd.DataFrame(tweets[is_new]).astype({"target": int})


def _compare(previous_model: Path, tweets: pd.DataFrame) -> Difference:
    answers = []
    for folder in (CLASSIFIER, previous_model):
        try:
            classifier = Classifier(folder)
        except LockedModelError as error:
            raise InputError(str(error)) from error
        probabilities = classifier.probabilities(tweets["text"].tolist())
        answers.append(probabilities >= classifier.manifest.threshold)
    return compare_accuracy(tweets["target"].to_numpy(dtype=bool), *answers)


def main() -> None:
    """Give the stage to the model that the command line names."""
    parser = make_parser("promote", __doc__)
    parser.add_argument("stage", nargs="?", default="prod", help="default: prod")
    parser.add_argument("--version", help="an earlier version, or a stage that it has")
    parser.add_argument("--fresh", type=Path, help="a file of newer labelled tweets")
    options = parser.parse_args()
    check_readable()
    promote(options.stage, options.version, options.fresh)


if __name__ == "__main__":
    run(main)
