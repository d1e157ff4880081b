"""Ids of tokens as text, by the tokenizer of the module or of its datamodule."""

from __future__ import annotations

import logging
from typing import Any

import attrs

from tracelet_lightning.failures import log_failure
from tracelet_lightning.rows import is_tensor

__all__ = ["Decoder", "TokenIds", "decoder_of", "take_ids"]

#: Ids of one text.
_MAX_IDS = 1024


@attrs.frozen(eq=False)
class TokenIds:
    """What may be ids of tokens: a row of whole numbers for each sample."""

    rows: list[Any]
    #: Whether each id is the one of all of the tokenizer's that has the highest score.
    scored: bool = False

    def lists(self) -> list[list[int]]:
        """Return the ids."""
        return [row.tolist() for row in self.rows]


@attrs.frozen(eq=False)
class Decoder:
    """A tokenizer of the user's."""

    tokenizer: Any
    #: How many tokens it knows.
    size: int

    def knows(self, ids: TokenIds) -> bool:
        """Whether every id is one of its own; those below 0 are passed over by the loss."""
        return all(one < self.size for row in ids.lists() for one in row)

    def texts(self, ids: TokenIds) -> list[str]:
        """Return the texts, without padding and special tokens. Raises what the tokenizer raises."""
        return [self._text([one for one in row if one >= 0]) for row in ids.lists()]

    def _text(self, ids: list[int]) -> str:
        padding = getattr(self.tokenizer, "pad_token_id", None)
        while ids and ids[-1] == padding:
            ids.pop()
        try:
            return str(self.tokenizer.decode(ids, skip_special_tokens=True))
        except TypeError:
            # Tokenizers that know no special tokens do not take the option.
            return str(self.tokenizer.decode(ids))


def decoder_of(module: Any) -> Decoder | None:
    """Return the decoder of a module's tokenizer, or of its datamodule's; None without one."""
    with log_failure("the tokenizer", logging.DEBUG):
        tokenizer: Any = getattr(module, "tokenizer", None)
        if tokenizer is None:
            # The module raises where it has no Trainer.
            tokenizer = getattr(module.trainer.datamodule, "tokenizer", None)
        if callable(getattr(tokenizer, "decode", None)):
            size = len(tokenizer) if hasattr(tokenizer, "__len__") else _vocabulary(tokenizer)
            return Decoder(tokenizer, size) if size else None
    return None


def take_ids(rows: Any, decoder: Decoder) -> TokenIds | None:
    """Copy rows that may be ids of tokens, or scores of all tokens at each place; None where they are neither."""
    members = list(rows) if isinstance(rows, list) else rows.detach()
    if isinstance(members, list) and not all(is_tensor(one) for one in members):
        return None
    scored = all(one.dim() == 2 and one.shape[1] >= decoder.size and one.is_floating_point() for one in members)
    if scored:
        return TokenIds([one[:_MAX_IDS].argmax(1) for one in members], scored=True)
    whole = all(one.dim() == 1 and not one.is_floating_point() and "int" in str(one.dtype) for one in members)
    return TokenIds([one[:_MAX_IDS].clone() for one in members]) if whole and len(members) else None


def _vocabulary(tokenizer: Any) -> int:
    for name in ("vocab_size", "n_vocab", "get_vocab_size"):
        size = getattr(tokenizer, name, 0)
        size = size() if callable(size) else size
        if isinstance(size, int) and size:
            return size
    return 0
