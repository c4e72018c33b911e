"""The network before its training: the base model's body under a new head."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from common.errors import InputError
from locked.labels import LABELS
from stages.shared.base_model import WEIGHTS
from stages.train.params import Train


def network(base: Path, recipe: Train) -> PreTrainedModel:
    """Load the base model from a folder.

    Raises:
        InputError: its weights are damaged, or are not those of its config.json.

    """
    logging.set_verbosity_error()  # the new classifier head is meant to be missing in the base
    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(
        base, id2label=dict(enumerate(LABELS)), local_files_only=True
    )
    if recipe.layers:  # the lowest, as Sajjad et al. 2020 (https://arxiv.org/abs/2004.03844) keep
        if recipe.layers > config.num_hidden_layers:
            raise InputError(
                f"train.layers: {recipe.layers}, but the base model has {config.num_hidden_layers}"
            )
        config.num_hidden_layers = recipe.layers
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, int | float):
            setattr(config, name, recipe.dropout)
    try:
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            base,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            attn_implementation="eager",  # faster than the fused ones on texts this short
            ignore_mismatched_sizes=True,  # another head's labels; the body is checked below
            output_loading_info=True,
        )
    except SafetensorError as error:
        raise InputError(f"{base / WEIGHTS} is damaged: {error}") from error
    lacking = {*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])}
    body = sorted(
        name
        for name in lacking
        if name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in name
    )
    if body:
        raise InputError(
            f"{base / WEIGHTS} lacks {len(body)} of the weights that config.json speaks of, or has "
            f"them in another size: {body[0]}, ..."
        )
    model.get_input_embeddings().requires_grad_(not recipe.freeze_embeddings)
    return model
