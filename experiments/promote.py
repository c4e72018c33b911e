"""Give a stage such as prod to the model of this commit, or to an earlier version of it.

    python -m experiments.promote [STAGE] [--version VERSION] [--fresh FILE]

Versions and stages are git tags in the format of GTO (https://github.com/iterative/gto), which
`dvc artifacts get` understands. A version named with --version gets the stage as it is: so one
rolls back. Else the model of the last commit is registered, if all of this holds: nothing differs
from the commit or from dvc.lock; `passed` is true; it is not surely worse than the model that has
the stage by more than `promote.margin`: on this test split, and where --fresh names one, on a file
of newer labelled tweets, such as those that `python -m monitor harvest` writes.
"""

import argparse
import json
import tempfile
from pathlib import Path

import gto.api
import pandas as pd
from gto.constants import name_re

from common.errors import InputError, run
from common.git import changed_files, git
from experiments.compare import Difference, difference
from experiments.fetch import ARTIFACT, UNUSABLE, fetch, resolve, versions
from experiments.repository import lacking, named, stale_stages
from locked.classifier import Classifier
from locked.manifest import LockedModelError
from reader.canonical import canonical_texts
from reader.format import Format
from reader.open import opened
from stages import params
from stages.shared.outputs import CLASSIFIER, METRICS, PREPARED


def promote(stage: str, name: str | None, fresh: Path | None = None) -> str:
    """Give `stage` to the version `name`, or to this commit's model; return the version.

    `fresh` has tweets, with `text` and `target`, on which it is judged too.

    Raises:
        InputError: it must not be; the message says why.

    """
    if not name_re.match(stage):
        raise InputError(f"a stage has letters, digits, - _ and / only, not {stage!r}")
    known = versions()
    present = next((v for v, stages in known.items() if stage in stages), None)
    if name is not None:
        version = resolve(name)
    else:
        _check_sound()
        tags = git("tag", "--points-at", "HEAD").split()
        version = next((v for v in known if f"{ARTIFACT}@{v}" in tags), "")
        if present and present != version:
            _check_not_worse(stage, present, fresh)
        if not version:
            version = str(gto.api.register(".", ARTIFACT, "HEAD").version)
    if present == version:
        print(f"{version} has {stage} already")
    else:
        tag = gto.api.assign(".", ARTIFACT, stage, version=version, force=True).tag
        print(f"{version} has {stage} now{f', after {present}' if present else ''}")
        print(
            f"to let others know:\n    dvc push\n    git push origin {ARTIFACT}@{version} '{tag}'"
        )
    return version


def _check_sound() -> None:
    if lack := lacking():  # versions, so that one might be given twice
        raise InputError(lack)
    others = ("ls-files", "--others", "--exclude-standard", "--")  # what a clone would lack
    parts = ("dvc.lock", "dvc.yaml", "params.yaml", "models", "locked", "reader", "stages")
    if changed := changed_files() + git(*others, *parts).splitlines():
        raise InputError(f"not committed yet: {named(changed)}; commit, then promote")
    if stale := stale_stages(missing=True):
        lines = "\n    ".join(stale)
        raise InputError(
            f"dvc.lock does not describe what is here:\n    {lines}\n"
            "run `dvc repro` and commit, or `dvc checkout` to have the locked files back"
        )
    if not json.loads(METRICS.read_text())["passed"]:
        raise InputError(f"{METRICS}: passed is false: a minimum of params.yaml is not reached")


def _check_not_worse(stage: str, present: str, fresh: Path | None) -> None:
    """Let this commit's model and that of another version judge the same tweets."""
    margin = params.load().promote.margin
    judges = {"the test split": pd.read_parquet(PREPARED / "test.parquet")}
    if fresh:
        judges[str(fresh)] = unlearnt(fresh)
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / ARTIFACT
        fetch(present, other)
        found = {name: _compare(other, tweets) for name, tweets in judges.items()}
    for name, difference_there in found.items():
        print(f"accuracy on {name}, less that of {present}: {difference_there}")
    if worse := [name for name, there in found.items() if there.high < -margin]:
        raise InputError(
            f"{present} keeps {stage}: this model is surely worse by more than "
            f"promote.margin = {margin} on {' and '.join(worse)}"
        )


def unlearnt(file: Path) -> pd.DataFrame:
    """Return the tweets of a file, `text` and `target`, that this model has not learnt from.

    Raises:
        InputError: it cannot be read, a target is not 0 or 1, or all of it is learnt.

    """
    with opened(str(file), Format(label="target", labels=frozenset({"0", "1"}))) as table:
        names = [table.column(name, "its name") for name in ("text", "target")]
        parts = [chunk.table.to_pandas() for chunk in table.chunks(names)]
    tweets = pd.concat(parts).set_axis(["text", "target"], axis=1).astype(str)
    if wrong := sorted(set(tweets["target"]) - {"0", "1"}):
        raise InputError(f"{file}: target must be 0 or 1 (got {wrong[0]!r})")
    splits = [pd.read_parquet(PREPARED / f"{split}.parquet") for split in ("train", "validation")]
    learnt = set(canonical_texts(pd.concat(splits)["text"]))
    new: pd.DataFrame = tweets[[one not in learnt for one in canonical_texts(tweets["text"])]]
    if new.empty:
        raise InputError(f"{file}: this model has learnt from each of its tweets")
    return new.assign(target=new["target"].astype(int))


def _compare(other: Path, tweets: pd.DataFrame) -> Difference:
    texts = tweets["text"].tolist()
    said = []
    for folder in (CLASSIFIER, other):
        try:
            classifier = Classifier(folder)
        except LockedModelError as error:
            raise InputError(str(error)) from error
        said.append(classifier.probabilities(texts) >= classifier.manifest.threshold)
    return difference(tweets["target"].to_numpy(dtype=bool), *said)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.promote", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("stage", nargs="?", default="prod")
    parser.add_argument("--version", help="an earlier one, or a stage that has it")
    parser.add_argument("--fresh", type=Path, help="newer labelled tweets to be judged on too")
    chosen = parser.parse_args()
    try:
        promote(chosen.stage, chosen.version, chosen.fresh)
    except UNUSABLE as error:
        how = ": git config user.name NAME && git config user.email ADDRESS"
        raise InputError(f"{error}{how * ('must be configured' in str(error))}") from error


if __name__ == "__main__":
    run(main)
