"""Scores on Apache Beam: the same blocks and the same answers, by as many workers as there are."""

import logging
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from common.errors import InputError
from locked.classifier import Classifier
from score.blocks import Settings, answered, blocks, packed, unpacked
from score.model import locked
from score.run import Total, keep, name_refused, record
from score.sink import Sink, sink

# Beam's own choice of a local runner begins with a download.
LOCAL = {"DirectRunner": "FnApiRunner"}
AT_ONCE = 32  # records that are read at the same time


class Read(beam.DoFn):
    """Yields a file's blocks, but for those that are answered already."""

    def __init__(self, settings: Settings, output: str) -> None:
        self.settings, self.output = settings, output

    def setup(self) -> None:
        """List what is answered."""
        self.done = sink(self.output).names("blocks")

    def process(self, element: tuple[str, str]) -> Iterator[bytes]:
        """Read a file, given with its fingerprint."""
        for block in blocks(*element, self.settings):
            if f"{block.name}.json" not in self.done:
                yield packed(block)


class Answer(beam.DoFn):
    """Answers blocks; a process holds one model, which computes with one thread."""

    def __init__(self, settings: Settings, model: str, output: str) -> None:
        self.settings, self.model, self.output = settings, model, output
        self.shared = Shared()
        self.rows = Metrics.counter("score", "rows")

    def setup(self) -> None:
        """Load the model.

        Raises:
            InputError: it is not here, or not the one of the run, or answers otherwise here.

        """
        self.classifier: Classifier = self.shared.acquire(self._load)
        self.out = sink(self.output)

    def process(self, element: bytes) -> None:
        """Answer a block."""
        block = unpacked(element)
        content, record = answered(block, self.classifier, self.settings)
        keep(block.name, content, record, self.settings, self.out)
        self.rows.inc(record.rows)

    def _load(self) -> Classifier:
        with tempfile.TemporaryDirectory() as copies:
            classifier = locked(self.model, Path(copies), 1, self.settings.engine)
        if (version := classifier.manifest.version) != self.settings.model:
            raise InputError(
                f"{self.model} is {version} on a worker, and {self.settings.model} where the run "
                "was begun; give both the same"
            )
        return classifier


def pipeline(runner: str, flags: list[str]) -> beam.Pipeline:
    """Return an empty pipeline.

    Raises:
        InputError: there is no such runner, or an option is unknown or lacking.

    """
    options = PipelineOptions([f"--runner={LOCAL.get(runner, runner)}", *flags])
    unknown = options.get_all_options(retain_unknown_options=True).keys()
    if unknown := unknown - options.get_all_options().keys():
        raise InputError(f"Beam has no option {', '.join(sorted(unknown))}")
    logging.basicConfig(format="%(message)s")
    # What these log of an error is raised too; the last says where a job can be watched.
    for name, level in (("common", "FATAL"), ("portability", "FATAL"), ("dataflow", "INFO")):
        logging.getLogger(f"apache_beam.runners.{name}").setLevel(level)
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:
        raise InputError(f"--runner {runner}: {error}") from error


def score(
    empty: beam.Pipeline, pins: dict[str, str], settings: Settings, model: str, output: str
) -> Total:
    """Answer all blocks that are not there yet; return what became of all rows.

    Args:
        empty: the pipeline that does it.
        pins: files with their fingerprints.
        settings: what the answers follow from.
        model: where each worker finds the model.
        output: where the answers go.

    Raises:
        InputError: a worker met an error that a person can mend.

    """
    try:
        with empty as begun:
            (
                begun
                | "files" >> beam.Create(list(pins.items()))
                | "blocks" >> beam.ParDo(Read(settings, output)).with_output_types(bytes)
                | "spread" >> beam.Reshuffle()
                | "answers" >> beam.ParDo(Answer(settings, model, output))
            )
    except Exception as error:  # each runner has errors of its own; a worker's come as text
        said = f"{type(error).__name__}: {error}"
        known = r"\b(?:Input|NoTable)Error: (.+?)(?: \[while running .*)?$"
        if found := re.search(known, said, re.M):
            raise InputError(found[1]) from error
        raise
    out = sink(output)
    total = counted(pins, out)
    name_refused(total, out)
    return total


def counted(pins: dict[str, str], out: Sink) -> Total:
    """Add up the records that are there, in the order of files and rows."""
    places = {pinned: place for place, pinned in enumerate(pins.values())}
    names = [name.removesuffix(".json") for name in out.names("blocks")]
    known = [name for name in names if name.partition("-")[0] in places]
    known.sort(key=lambda name: (places[name.partition("-")[0]], name))
    total = Total()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for found in pool.map(lambda name: record(name, out), known):
            total.add(found)
    return total
