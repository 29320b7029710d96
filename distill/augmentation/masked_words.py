"""What a masked-language model would put in the place of words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.answering.backends import resolve_device
from distill.augmentation.words import Span, words_of
from distill.models.loading import check_vocabulary, load_frozen, load_tokenizer, max_positions
from distill.tasks.masked_language.task import MaskedLanguage
from distill.text.masking import IGNORED
from distill.text.packing import BlockFrame
from distill.text.vocabulary import PieceTable
from distill.types import Batch


class MaskableWord(NamedTuple):
    """A word that is some whole pieces: its characters, and its pieces counted from the text's first one."""

    span: Span
    tokens: tuple[int, int]


class _Request(NamedTuple):
    """Pieces of a chunk of text, the places of its masks, and which words of the group these hide, in order."""

    ids: list[int]
    masks: list[int]
    words: list[int]


class MaskedWords:
    """A masked-language model that names candidates for the words of a text.

    A word is hidden behind a single mask, whatever pieces it has, so candidates are the pieces that are words by
    themselves: written with the beginning of a word, of letters alone.

    Args:
        model: A masked-language model; it is not changed, and computes where it is.
        tokenizer: Its tokenizer.
        batch_size: Texts that the model computes at once.

    Raises:
        UserError: If the tokenizer does not show where words begin, or has no mask.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 16) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.task = MaskedLanguage()
        self._frame = BlockFrame.of(tokenizer)
        limits = (max_positions(model.config), tokenizer.model_max_length)
        #: Pieces of text that the model takes at once.
        self.chunk_length = min(limit for limit in limits if limit) - len(self._frame)
        self._pieces = PieceTable.of(tokenizer)
        self._texts = [tokenizer.decode([piece]).strip() for piece in range(len(tokenizer))]
        is_word = [text.isalpha() for text in self._texts]
        # Models may score more pieces than there are, for the sake of round numbers.
        usable = np.zeros(model.config.vocab_size, dtype=bool)
        usable[: len(tokenizer)] = np.array(is_word) & self._pieces.begins_word & ~self._pieces.is_special
        self._unusable = torch.as_tensor(~usable, device=model.device)
        #: The pieces of each word, casefolded: "casa" and "Casa" are one.
        self._spelled: dict[str, list[int]] = {}
        for piece in np.flatnonzero(usable).tolist():
            self._spelled.setdefault(self._texts[piece].casefold(), []).append(piece)

    @classmethod
    def from_pretrained(cls, source: str, batch_size: int = 16, device: str | int = "auto") -> MaskedWords:
        """Load a model and its tokenizer from a folder or the hub.

        Args:
            source: Folder or hub name.
            batch_size: Texts that the model computes at once.
            device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, or the number of a GPU (-1 for the CPU).

        Raises:
            UserError: If they cannot be loaded or do not belong together, the model has no masked-language head, or
                there is no such device.
        """
        place = resolve_device(device)  # before the weights are loaded
        model, tokenizer = load_frozen(MaskedLanguage(), source), load_tokenizer(source)
        check_vocabulary(tokenizer, model.config, f"model {source}")
        model.to(place)
        return cls(model, tokenizer, batch_size)

    def read(self, text: str) -> tuple[list[int], list[MaskableWord]]:
        """Return the pieces of a text and its words that may be hidden: whole pieces, the first of which begins a word.

        The first word of a text, and one behind a bracket, are none in vocabularies that write the space.
        """
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids: list[int] = encoded["input_ids"]
        # Byte-level pieces may count the space in front as theirs.
        visible = [(start + _indent(text[start:end]), end) for start, end in encoded["offset_mapping"]]
        first = {start: index for index, (start, end) in reversed(list(enumerate(visible))) if start < end}
        last = {end: index for index, (start, end) in enumerate(visible) if start < end}
        words = [
            MaskableWord((start, end), (first[start], last[end] + 1))
            for start, end in words_of(text)
            if start in first and end in last and self._pieces.begins_word[ids[first[start]]]
        ]
        chunk = self.chunk_length
        return ids, [word for word in words if word.tokens[0] // chunk == (word.tokens[1] - 1) // chunk]

    @torch.inference_mode()
    def candidates(
        self,
        ids: Sequence[int],
        groups: Sequence[Sequence[MaskableWord]],
        num_candidates: int,
        excluded: Collection[str] = (),
    ) -> list[list[list[str]]]:
        """Name the words that the model holds for likeliest in the place of others.

        Args:
            ids: The pieces of a text.
            groups: Words that are hidden together; each group is hidden in a copy of its own.
            num_candidates: How many to name for each word, the likeliest first; never the word itself.
            excluded: Words, casefolded, that are no candidates.

        Returns:
            For each word of each group its candidates, as the vocabulary spells them.
        """
        requests: list[tuple[int, _Request]] = []
        for number, group in enumerate(groups):
            for start in range(0, len(ids), self.chunk_length):
                inside = [i for i, word in enumerate(group) if 0 <= word.tokens[0] - start < self.chunk_length]
                if inside:
                    requests.append((number, self._request(ids, group, inside, start)))
        found: list[list[list[str]]] = [[[] for _ in group] for group in groups]
        requests.sort(key=lambda request: len(request[1].ids))
        for first in range(0, len(requests), self.batch_size):
            some = requests[first : first + self.batch_size]
            scores = iter(self._scores([request for _, request in some]))
            for number, request in some:
                for index in request.words:
                    original = self._text_of(ids, groups[number][index])
                    found[number][index] = self._best(next(scores), {original, *excluded}, num_candidates)
        return found

    def _request(self, ids: Sequence[int], group: Sequence[MaskableWord], inside: list[int], start: int) -> _Request:
        end = min(start + self.chunk_length, len(ids))
        # Between hidden words the pieces stay; each hidden word gives way to one mask.
        borders = [start, *(border for i in inside for border in group[i].tokens), end]
        kept = [list(ids[left:right]) for left, right in list(pairwise(borders))[::2]]
        masked, masks = [*self._frame.start, *kept[0]], []
        for pieces in kept[1:]:
            masks.append(len(masked))
            masked += [self._pieces.mask_id, *pieces]
        return _Request([*masked, *self._frame.end], masks, inside)

    def _scores(self, requests: Sequence[_Request]) -> Tensor:
        """Return the scores at all masks, (N, V), in order."""
        length = max(len(request.ids) for request in requests)
        padded = [request.ids + [self._pieces.pad_id] * (length - len(request.ids)) for request in requests]
        attended = [[1] * len(request.ids) + [0] * (length - len(request.ids)) for request in requests]
        ids, mask = (torch.tensor(rows, device=self.model.device) for rows in (padded, attended))
        labels = torch.full_like(ids, IGNORED)
        for row, request in enumerate(requests):
            labels[row, request.masks] = self._pieces.mask_id
        batch = Batch({"input_ids": ids, "attention_mask": mask}, {"token_ids": labels}, torch.arange(len(requests)))
        with self.task.focus(self.model, batch):
            logits = self.task.logits(self.model(**batch.inputs))
        return self.task.rows(logits, batch).masked_fill_(self._unusable, -torch.inf)

    def _text_of(self, ids: Sequence[int], word: MaskableWord) -> str:
        return self.tokenizer.decode(list(ids[slice(*word.tokens)])).strip().casefold()

    def _best(self, scores: Tensor, excluded: Collection[str], num_candidates: int) -> list[str]:
        scores[[piece for word in excluded for piece in self._spelled.get(word, ())]] = -torch.inf
        best = scores.topk(min(num_candidates, len(scores)))
        return [self._texts[piece] for piece in best.indices[best.values > -torch.inf].tolist()]


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())
