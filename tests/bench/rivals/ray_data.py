"""Ray Data with this project's engine: CSV in, Parquet out, an actor a core.

python -m tests.bench.rivals.ray_data FOLDER OUT MODEL BLOCK
"""

import sys
from pathlib import Path
from typing import Any

import pyarrow.csv
import ray

from locked.classifier import Classifier
from locked.cpus import cpus


class Answer:
    def __init__(self, model: str) -> None:
        self.classifier = Classifier(Path(model), threads=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        probabilities = self.classifier.probabilities(batch["text"].tolist())
        labels = [self.classifier.label(float(p)) for p in probabilities]
        return {**batch, "label": labels, "probability": probabilities}


def main() -> None:
    folder, out, model, block = sys.argv[1:]
    ray.init(num_cpus=cpus(), include_dashboard=False, log_to_driver=False)
    actors = ray.data.ActorPoolStrategy(size=cpus())
    # An actor asks for no core of its own: on two cores, none would be left to read.
    options = {"fn_constructor_args": [model], "batch_size": int(block), "num_cpus": 0}
    lines = pyarrow.csv.ParseOptions(newlines_in_values=True)
    tweets = ray.data.read_csv(folder, parse_options=lines)
    tweets.map_batches(Answer, compute=actors, **options).write_parquet(out)


if __name__ == "__main__":
    main()
