"""The data module for masked-language models: plain text as masked blocks."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from distill.data.base import TaskDataModule
from distill.data.blocks import EpochSampler, MaskedBlockDataset
from distill.data.identity import Identity
from distill.data.sampling import EvaluationSampler, evaluation_batches
from distill.files import Paths, first_in_both, listed_paths
from distill.models.loading import EMBEDDED
from distill.text.blocks import TRAIN, VALIDATION, TokenBlocks
from distill.text.cache import Preparation, cached_blocks
from distill.text.hub import HubSource
from distill.text.language import LanguageCheck
from distill.text.masking import WholeWordMasking
from distill.text.packing import BlockFrame
from distill.text.reading import MAX_DOCUMENT_CHARS, Separator
from distill.text.report import TextReport
from distill.text.sources import EmbeddedSource, FileSource, TextSource
from distill.text.vocabulary import PieceTable
from distill.types import Batch, UserError

#: Counted, and dropped only where a configuration says so.
SPANISH = LanguageCheck()
WHOLE_WORDS = WholeWordMasking()

#: Decides what is masked in evaluation, whatever the run's seed: figures of several seeds are of the same tokens.
EVALUATION_SEED = 0

#: A block has to hold more than its special tokens.
_SHORTEST_BLOCK = 8


class TextDataModule(TaskDataModule):
    """Plain text as batches of masked blocks, for masked-language models.

    Documents are read as a stream, rid of exact duplicates, checked for their language, tokenised, and packed one
    after another into blocks, with a separator token where one ends and the next begins in the same block. The tokens
    are kept under ``cache_dir``, keyed by the texts, the tokenizer and the settings, and mapped into memory.

    Training text is ``train_files`` where they are named, else ``dataset``: ``embedded`` is a small Spanish sample that
    the package writes itself, any other name a hub data set, which is streamed. Without ``validation_files`` one
    document in ``validation_every`` is held out, chosen by its hash, so that it stays held out when text is added.

    A training batch has the inputs ``input_ids`` (masked) and ``attention_mask``, each (B, ``block_length``), the label
    ``token_ids`` (B, ``block_length``), -100 where nothing is to be predicted, and block ids as ``window_ids``. What is
    masked depends on ``seed``, epoch and block alone; in evaluation it is the same always and for every ``seed``.

    Args:
        tokenizer: Folder or hub name whose tokenizer cuts the text; linked to the model, so never set by hand.
        dataset: ``embedded``, a hub name, or nothing when files are named.
        dataset_config: Configuration of the hub data set.
        dataset_revision: Branch, tag or commit of the hub data set; the newest commit when left out.
        train_files: ``.txt`` or ``.jsonl`` files, also ``.gz`` or ``.zst``, or folders of them.
        validation_files: The same, for validation; a share of the training text when nothing is named.
        test_files: The same, for the ``test`` command; the validation part when nothing is named.
        text_field: Name of the text in JSON lines and hub data sets.
        document_separator: What ends a document in plain text: ``blank_lines`` (two or more), ``line`` or ``file``.
        strict: Whether a single byte that is not UTF-8 is an error; else it is replaced and counted.
        deduplicate: Whether a document equal to an earlier one, but for case and white space, is dropped.
        language: What decides whether a document is in the language; counted, and dropped with ``drop: true``.
        validation_every: One document in this many is held out for validation when no files are named for it.
        block_length: Tokens of a block, special tokens included.
        cross_documents: Whether a block may hold several documents; else every document starts a block of its own.
        masking: Which words are hidden, and how.
        batch_size: Blocks in a training batch, per process.
        eval_batch_size: Blocks in an evaluation batch, per process.
        seed: Decides the order of training batches and what is masked in them.
        num_workers: Processes that prepare batches; 0 stays in the main one.
        cache_dir: Where tokens are kept.
        max_tokens: In place of ``batch_size``, tokens of a training batch at most, per process: as many blocks as fit.

    Raises:
        UserError: If a number is out of range.
    """

    def __init__(
        self,
        tokenizer: str = EMBEDDED,
        dataset: str | None = EMBEDDED,
        dataset_config: str | None = None,
        dataset_revision: str | None = None,
        train_files: Paths | None = None,
        validation_files: Paths | None = None,
        test_files: Paths | None = None,
        text_field: str = "text",
        document_separator: Separator = "blank_lines",
        strict: bool = False,
        deduplicate: bool = True,
        language: LanguageCheck | None = SPANISH,
        validation_every: int = 50,
        block_length: int = 128,
        cross_documents: bool = True,
        masking: WholeWordMasking = WHOLE_WORDS,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        seed: int = 0,
        num_workers: int = 0,
        cache_dir: str = "~/.cache/distill",
        max_tokens: int | None = None,
    ) -> None:
        super().__init__(tokenizer, batch_size, eval_batch_size, seed, num_workers, cache_dir)
        self.dataset = dataset
        self.dataset_config = dataset_config
        self.dataset_revision = dataset_revision
        parts = {"train": train_files, "validation": validation_files, "test": test_files}
        self.files = {split: listed_paths(files) for split, files in parts.items()}
        self.text_field = text_field
        self.document_separator: Separator = document_separator
        self.strict = strict
        self.max_length = block_length
        self.masking = masking
        self.preparation = Preparation(
            block_length=block_length,
            cross_documents=cross_documents,
            deduplicate=deduplicate,
            language=language,
            validation_every=0 if validation_files else validation_every,
        )
        self._blocks: dict[str, TokenBlocks] = {}
        self._names: dict[str, str] = {}
        self._reports: dict[str, TextReport] = {}
        self._shared: dict[str, dict[str, int]] = {}
        if validation_every < 2:
            raise UserError(f"data.validation_every must be at least 2, not {validation_every}: it leaves no text")
        if block_length < _SHORTEST_BLOCK:
            raise UserError(f"data.block_length must be at least {_SHORTEST_BLOCK}, not {block_length}")
        self.take_budget(max_tokens)

    @cached_property
    def pieces(self) -> PieceTable:
        """What masking has to know about the vocabulary."""
        return PieceTable.of(self.tokenizer)

    def check(self) -> None:
        """Check the tokenizer and the names of the files, before any text is read.

        Raises:
            UserError: If the tokenizer lacks a mask, padding or separator token or does not show where words begin, or
                a file is missing, or named both to train and to score on.
        """
        assert self.pieces
        BlockFrame.of(self.tokenizer)
        sources = {split: self._file_source(files) for split, files in self.files.items() if files}
        trained_on = sources.pop("train").files if "train" in sources else []
        for split, source in sources.items():
            if file := first_in_both(source.files, trained_on):
                raise UserError(
                    f"data.{split}_files: {file} is one of data.train_files too, so that the model would be scored on "
                    "what it is trained on: take it out of one of them"
                )

    def _passes(self) -> DataLoader[Batch]:
        """Return shuffled batches of masked blocks."""
        blocks = self._dataset("train")
        rank, num_ranks = self._rank()
        batch_size = self.batch_size if self.max_tokens is None else self.max_tokens // self.max_length
        sampler = EpochSampler(blocks.blocks.lengths, batch_size, self.seed, rank, num_ranks)
        return self._training_loader(blocks, sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return this process's share of the validation part."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return this process's share of the test part."""
        return self._evaluation_loader("test")

    def summary(self) -> dict[str, Any]:
        """Return what was read, repaired, dropped and packed, in plain numbers, for the report."""
        return {
            "block_length": self.preparation.block_length,
            "masking_probability": self.masking.probability,
            **({"left_out_of_each_pass": self.num_left_out} if self.num_left_out else {}),
            **{
                split: {
                    "source": self._names[split],
                    **blocks.counts(),
                    **self._shared.get(split, {}),
                    "reading": self._reports[split].as_dict(),
                }
                for split, blocks in self._blocks.items()
            },
        }

    def identities(self, place: str = "data") -> dict[str, Identity]:
        """Return what the training blocks are."""
        if (blocks := self._blocks.get("train")) is None:
            return {}
        return {place: Identity(source=self._names["train"], fingerprint=blocks.folder.name, items=len(blocks))}

    def _load(self, split: str) -> None:
        if split in self._blocks:
            return
        if split == "predict":
            raise UserError("predict: a masked-language model has nothing to answer; use test for its perplexity")
        own_files = self.files[split] or (self.files["validation"] if split == "test" else None)
        held_out = split != "train" and not own_files
        source = self._file_source(own_files) if own_files else self._training_source()
        preparation = self.preparation
        if own_files and split != "train":
            preparation = replace(preparation, validation_every=0)
        folder = cached_blocks(source, self.tokenizer, preparation, self.cache_dir)
        blocks = TokenBlocks(folder, VALIDATION if held_out else TRAIN)
        if not len(blocks):
            raise UserError(self._nothing_left(split, held_out, source))
        self._blocks[split] = blocks
        self._names[split] = source.name
        self._reports[split] = blocks.report_of(source)
        rank_zero_info("%s: %s%s", split, source.name, " (held-out share)" if held_out else "")
        if not held_out:
            for line in self._reports[split].describe():
                rank_zero_info("%s: %s", split, line)
            if self._reports[split].is_mostly_cut and self.document_separator == "blank_lines" and source.files:
                rank_zero_warn(
                    f"{split}: more than half of the documents are pieces of longer ones, which were cut at "
                    f"{MAX_DOCUMENT_CHARS:,} characters: if single blank lines or line ends part your documents, set "
                    "data.document_separator to line"
                )
        counts = blocks.counts()
        rank_zero_info(
            "%s: %d documents, %d tokens in %d blocks", split, counts["documents"], counts["tokens"], counts["blocks"]
        )
        if split != "train" and not held_out and "train" in self._blocks:
            self._compare_with_training(split)

    def _compare_with_training(self, split: str) -> None:
        """Count the documents of a part from files of its own that are in the training text too, and say so."""
        blocks = self._blocks[split]
        num_shared = blocks.num_shared(self._blocks["train"])
        self._shared[split] = {"documents_in_training": num_shared}
        if num_shared:
            rank_zero_warn(
                f"{split}: {num_shared:,} of {blocks.counts()['documents']:,} documents are in the training text too: "
                "their perplexity says nothing about text that the model has not seen"
            )

    def _nothing_left(self, split: str, held_out: bool, source: TextSource) -> str:
        if held_out:
            every = self.preparation.validation_every
            return f"{split}: {source.name}: no document falls into 1 of {every}: name files, or lower validation_every"
        return f"{split}: {source.name}: no document is left; see data.language, data.deduplicate, validation_every"

    def _training_source(self) -> TextSource:
        if self.files["train"]:
            return self._file_source(self.files["train"])
        if self.dataset == EMBEDDED:
            return EmbeddedSource()
        if self.dataset is None:
            raise UserError("no text: name files with --data.train_files or a --data.dataset")
        return HubSource(self.dataset, self.dataset_config, self.dataset_revision, self.text_field, self.cache_dir)

    def _file_source(self, files: list[str]) -> FileSource:
        return FileSource(files, self.text_field, self.document_separator, self.strict)

    def _dataset(self, split: str) -> MaskedBlockDataset:
        seed = self.seed if split == "train" else EVALUATION_SEED
        return MaskedBlockDataset(self._blocks[split], self.masking, self.pieces, self.max_length, seed)

    def _evaluation_loader(self, split: str) -> DataLoader[Batch]:
        blocks = self._dataset(split)
        batches = evaluation_batches(blocks.blocks.lengths, self.eval_batch_size, *self._rank())
        return self._loader(blocks, EvaluationSampler(batches))
