"""Scores on Apache Beam: the same blocks and the same answers, by many workers."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from common.errors import InputError
from common.storage import Folder
from locked.classifier import Classifier
from score.blocks import Block, Settings, answer, blocks
from score.model import load
from score.run import write

# Beam's own choice of a local runner begins with a download.
LOCAL = {"DirectRunner": "FnApiRunner"}


class Read(beam.DoFn):
    """Yields the blocks of a file that are not finished yet."""

    def __init__(self, settings: Settings, output: Folder) -> None:
        self.settings, self.output = settings, output

    def setup(self) -> None:
        """List the finished blocks."""
        self.finished = self.output.names("blocks")

    def process(self, element: tuple[str, str]) -> Iterator[Block]:
        """Read a file, given by name and fingerprint."""
        for block in blocks(*element, self.settings):
            if f"{block.name}.json" not in self.finished:
                yield block


class Answers(ModelHandler[Block, str, Classifier]):
    """Answers and writes blocks; each process has one model, which computes with one thread."""

    def __init__(self, settings: Settings, model: str, output: Folder) -> None:
        super().__init__(max_batch_size=1)
        self.settings, self.model, self.output = settings, model, output

    def load_model(self) -> Classifier:
        """Load the model.

        Raises:
            InputError: it is missing, or not the model of the run, or its answers are wrong here.

        """
        classifier = load(self.model, 1, self.settings.engine)
        if (version := classifier.manifest.version) != self.settings.model:
            raise InputError(
                f"{self.model} is {version} on a worker, but {self.settings.model} where the run "
                "began. Give both the same model"
            )
        return classifier

    def run_inference(
        self,
        batch: Sequence[Block],
        model: Classifier,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterator[str]:
        """Answer and write blocks; yield their names."""
        for block in batch:
            content, summary = answer(block, model, self.settings)
            write(block.name, content, summary, self.settings, self.output)
            yield block.name


def pipeline(runner: str, flags: list[str]) -> beam.Pipeline:
    """Return an empty pipeline.

    Raises:
        InputError: there is no such runner, or an option is unknown or missing.

    """
    options = PipelineOptions([f"--runner={LOCAL.get(runner, runner)}", *flags])
    unknown = options.get_all_options(retain_unknown_options=True).keys()
    if unknown := unknown - options.get_all_options().keys():
        raise InputError(f"Beam has no option {', '.join(sorted(unknown))}")
    # gRPC would ask a proxy for the local workers, and wait for ever.
    for name in ("no_proxy", "no_grpc_proxy"):
        others = os.environ.get(name) or os.environ.get(name.upper()) or ""
        os.environ[name] = ",".join(filter(None, ["localhost,127.0.0.1,::1", others]))
    logging.basicConfig(format="%(message)s")
    # Errors are raised too; Dataflow's log says where to watch the job.
    for name, level in (("common", "FATAL"), ("portability", "FATAL"), ("dataflow", "INFO")):
        logging.getLogger(f"apache_beam.runners.{name}").setLevel(level)
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:
        raise InputError(f"--runner {runner}: {error}") from error


def score(empty: beam.Pipeline, fingerprints: dict[str, str], answers: Answers) -> None:
    """Answer and write all blocks that are not written yet, by an empty pipeline.

    Raises:
        InputError: a worker raised one.

    """
    try:
        with empty as begun:
            (
                begun
                | "files" >> beam.Create(list(fingerprints.items()))
                | "blocks" >> beam.ParDo(Read(answers.settings, answers.output))
                | "spread" >> beam.Reshuffle()
                | "answers" >> RunInference(answers)
            )
    except Exception as error:  # each runner has errors of its own; a worker's come as text
        message = f"{type(error).__name__}: {error}"
        pattern = r"\b(?:Input|NoTable)Error: (.+?)(?: \[while running .*)?$"
        if match := re.search(pattern, message, re.M):
            raise InputError(match[1]) from error
        raise
