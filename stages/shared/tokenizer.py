"""The tokenizer that training, export and serving share, text normalisation included."""

from pathlib import Path

from tokenizers import Regex, Tokenizer
from tokenizers.normalizers import Normalizer, Replace, Sequence, Strip

from common.errors import InputError
from locked.text import ENTITIES, MENTION, URL
from stages.shared.base_model import configuration


def build(base: Path, max_length: int) -> Tokenizer:
    """Return the base model's tokenizer with tweets' own normalisation before the base's.

    Entities are unescaped, every link becomes "http" and every mention "@user", white space
    becomes single spaces. All of it is saved within tokenizer.json, so whoever loads that file
    normalises alike. Texts are cut to `max_length` tokens, and batches padded with the base
    model's own padding token.

    Raises:
        InputError: a file is damaged, or names no padding token that the tokenizer knows.

    """
    try:
        tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    except Exception as error:  # tokenizers raises nothing more specific
        raise InputError(f"{base / 'tokenizer.json'} is damaged: {error}") from error
    steps: list[Normalizer] = [
        *(Replace(entity, character) for entity, character in ENTITIES.items()),
        Replace(Regex(URL), " http "),
        Replace(Regex(MENTION), " @user "),
        Replace(Regex(r"\s+"), " "),
        Strip(),
    ]
    if tokenizer.normalizer is not None:
        steps.append(tokenizer.normalizer)
    tokenizer.normalizer = Sequence(steps)
    tokenizer.enable_truncation(max_length)
    pad_id = configuration(base).get("pad_token_id")
    pad_token = None if pad_id is None else tokenizer.id_to_token(pad_id)
    if pad_token is None:
        raise InputError(f"{base / 'config.json'}: pad_token_id {pad_id} is not in tokenizer.json")
    tokenizer.enable_padding(pad_id=pad_id, pad_token=pad_token)
    return tokenizer
