"""Base models as others publish them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer, RobertaConfig, RobertaModel

from common.errors import InputError
from experiments.convert import bertweet, convert
from stages.shared.base_model import locate
from stages.shared.params import Model
from tests.conftest import ROOT

MERGES = ["f l", "fl o", "o d</w>", "flo od</w>", "i n</w>", "t o", "to w", "tow n</w>", "w n</w>"]
VOCABULARY = ["flood", "in", "town", "flo@@", "fl@@", "tow@@", "to@@", "od", "wn"]
VOCABULARY += [f"{c}@@" for c in "abcdefilnotw"] + list("abcdefilnotw")


@pytest.fixture
def pickled(base_model: Path, tmp_path: Path) -> Path:
    """A BERT whose weights are a pickle, with a vocabulary for Python's tokenizer alone."""
    folder = Path(shutil.copytree(base_model, tmp_path / "pickled"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture
def tweets_model(tmp_path: Path) -> Path:
    """BERTweet in small: pickled weights, 130 positions, vocab.txt and bpe.codes."""
    folder = tmp_path / "tweets"
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = RobertaConfig(
        vocab_size=len(VOCABULARY) + 5,
        intermediate_size=32,
        max_position_embeddings=130,
        tokenizer_class="BertweetTokenizer",
        **size,
    )
    model = RobertaModel(config)
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("".join(f"{word} 9\n" for word in VOCABULARY))
    (folder / "bpe.codes").write_text("".join(f"{merge} 9\n" for merge in MERGES))
    return folder


def test_pickled_weights_are_the_same_weights(
    pickled: Path, base_model: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "experiments.convert", str(pickled), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = YAML(typ="safe").load(done.stdout)["model"]
    assert locate(Model(max_length=64, **said)) == tmp_path / "out"
    before, after = (load_file(f / "model.safetensors") for f in (base_model, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_pickle_that_runs_something_is_refused(pickled: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    torch.save({"weight": Attack()}, pickled / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"weights cannot be read"):
        convert(str(pickled), tmp_path / "out", None)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["flood in town", "flow down to", "in", "wood café"])
def test_a_tokenizer_of_python_alone_says_the_same(tweets_model: Path, text: str) -> None:
    slow = AutoTokenizer.from_pretrained(tweets_model)
    assert bertweet(tweets_model).encode(text).ids == slow(text)["input_ids"]


def test_the_whole_of_it_is_converted(tweets_model: Path, tmp_path: Path) -> None:
    hashes = convert(str(tweets_model), tmp_path / "out", None)
    model = Model(name=str(tmp_path / "out"), sha256=hashes, max_length=128)  # type: ignore[arg-type]
    assert locate(model) == tmp_path / "out"
    tokenizer = Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    assert tokenizer.encode("flood in town").tokens[1:-1] == ["flood</w>", "in</w>", "town</w>"]


def test_what_cannot_be_converted_is_said(pickled: Path, tmp_path: Path) -> None:
    (pickled / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"no tokenizer.json, and none can be made"):
        convert(str(pickled), tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_a_hub_name_needs_a_revision(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"some/model is no folder here; .* give --revision"):
        convert("some/model", tmp_path / "out", None)
