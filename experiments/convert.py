"""A base model as others publish it -> a folder that `model.name` takes, and its hashes.

    python -m experiments.convert SOURCE OUTPUT [--revision COMMIT]

SOURCE is a folder, or a name on the Hugging Face hub with the commit to take. Pickled weights
(pytorch_model.bin, read without running what a pickle may hold) become model.safetensors, and a
tokenizer that only Python can read becomes tokenizer.json, where that is possible.
"""

import argparse
import shutil
import sys
from pathlib import Path

from ruamel.yaml import YAML
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from common.atomic import new_folder
from common.errors import InputError, run
from common.hashing import sha256_of
from stages.shared.base_model import FILES, download

WEIGHTS = ("*.safetensors", "*.bin")
VOCABULARIES = ("vocab.*", "*.model")
TEXTS = ("*.json", "*.txt", "*.model", "*.codes")


def convert(source: str, output: Path, revision: str | None) -> dict[str, str]:
    """Write the model's folder; return the SHA-256 of its files, as `model.sha256` has them.

    Raises:
        InputError: the source is out of reach or damaged, or the tokenizer cannot be converted.

    """
    folder = _fetch(source, revision)
    with new_folder(output) as draft:
        try:
            AutoModel.from_pretrained(folder, local_files_only=True).save_pretrained(draft)
        except Exception as error:  # transformers has no error of its own
            raise InputError(f"{source}: its weights cannot be read: {error}") from error
        _write_tokenizer(folder, draft / FILES["tokenizer"])
        for stranger in {path.name for path in draft.iterdir()} - set(FILES.values()):
            (draft / stranger).unlink()
    return {part: sha256_of(output / name) for part, name in FILES.items()}


def _fetch(source: str, revision: str | None) -> Path:
    if Path(source).is_dir():
        return Path(source)
    if revision is None:
        raise InputError(f"{source} is no folder here; of a hub name, give --revision COMMIT")
    return download(source, revision, [*WEIGHTS, *TEXTS])


def _write_tokenizer(folder: Path, path: Path) -> None:
    if (ready := folder / path.name).is_file():
        shutil.copyfile(ready, path)
    elif (folder / "bpe.codes").is_file():
        bertweet(folder).save(str(path))
    else:
        try:
            if not any(next(folder.glob(name), None) for name in VOCABULARIES):  # else an empty one
                raise InputError(f"none of {', '.join(VOCABULARIES)} is there")
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            tokenizer.backend_tokenizer.save(str(path))
        except Exception as error:  # of many kinds, most of missing packages
            raise InputError(
                f"{folder}: no tokenizer.json, and none can be made of what is there ({error}). "
                "Where a package is said to be missing, install it and try again; else take a "
                "model whose tokenizer is a fast one"
            ) from error


def bertweet(folder: Path) -> Tokenizer:
    """Read vocab.txt and bpe.codes, as BERTweet and PhoBERT have them (from fairseq).

    "@@" marks a piece that goes on, while here "</w>" marks one that ends. A merge whose result is
    no word of the vocabulary is left out.
    """
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    for line in (folder / "vocab.txt").read_text(encoding="utf-8").splitlines():
        word = line.rpartition(" ")[0]
        piece = word[:-2] if word.endswith("@@") else f"{word}</w>"
        vocabulary.setdefault(piece, len(vocabulary))
    vocabulary["<mask>"] = len(vocabulary)
    merges = []
    for line in (folder / "bpe.codes").read_text(encoding="utf-8").splitlines():
        left, right, *_ = line.split()
        if {left, right, left + right} <= vocabulary.keys():
            merges.append((left, right))
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", end_of_word_suffix="</w>")  # noqa: S106 - a word
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def main() -> None:
    """Convert, and print what belongs into params.yaml."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("source")
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--revision")
    chosen = arguments.parse_args()
    logging.set_verbosity_error()
    hashes = convert(chosen.source, chosen.output, chosen.revision)
    said = {"model": {"name": str(chosen.output), "revision": None, "sha256": hashes}}
    YAML().dump(said, sys.stdout)


if __name__ == "__main__":
    run(main)
