"""The data module for extractive question answering in SQuAD form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import datasets
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from distill.data.sampling import TrainingSampler
from distill.data.vocabulary import VocabularyTexts, trimmed_tokenizer
from distill.data.windowed import WindowedDataModule
from distill.data.windows import WindowDataset, WindowPadder, cached_windows, fingerprint
from distill.files import Paths, listed_paths
from distill.models.loading import EMBEDDED
from distill.models.vocabulary import count_recut_words
from distill.tasks.base import Task
from distill.tasks.question_answering.hub import read_hub
from distill.tasks.question_answering.reading import read_examples
from distill.tasks.question_answering.report import ReadingReport
from distill.tasks.question_answering.task import QuestionAnswering
from distill.tasks.question_answering.windows import build_windows, check_lengths, count_flagged, window_texts
from distill.types import Batch, Example, UserError

#: Which hub split serves a part that no files were named for.
_HUB_SPLITS = {"train": "train", "validation": "validation", "test": "validation"}


class SquadDataModule(WindowedDataModule):
    """Questions in SQuAD form, as padded batches of sliding windows of similar length.

    Each part comes from its files where files are named, else from ``dataset``: ``embedded`` is the Spanish set that
    the package carries (its dev part serves validation and test), any other name is a hub data set in SQuAD columns
    (``squad_es`` among them). Windows are tokenised once and kept under ``cache_dir``, keyed by the texts, the
    tokenizer and the window settings.

    Args:
        tokenizer: Folder or hub name whose tokenizer cuts the text; linked to the model, so never set by hand.
        dataset: ``embedded``, a hub name, or nothing when files are named for every part in use.
        dataset_config: Configuration of the hub data set, such as ``v1.1.0`` of ``squad_es``.
        train_files: SQuAD JSON files or folders of them.
        validation_files: The same, for choosing the best checkpoint.
        test_files: The same, for the ``test`` command; the validation part when nothing is named.
        predict_files: The same, for the ``predict`` command; answers are not needed.
        max_length: Tokens of a window at most, question and special tokens included.
        doc_stride: Tokens that consecutive windows of a context share.
        max_question_length: Tokens of a question at most; longer ones are cut, counted and reported.
        batch_size: Windows in a training batch, per process.
        eval_batch_size: Windows in an evaluation batch, per process.
        hide_questions: Whether the model sees "¿?" in place of every question: the control that tells how far answers
            can be guessed from the context alone.
        strict: Whether a single misplaced or empty answer is an error.
        seed: Decides the order of training batches.
        num_workers: Processes that prepare batches; 0 stays in the main one.
        cache_dir: Where tokenised windows are kept.
        vocabulary: Whether the tokenizer keeps all its pieces or those that the training texts use; linked to the
            student, so never set by hand.
        pad_to_max_length: Whether every training window is padded to ``max_length`` and batches are drawn regardless
            of length, as recipes do that average over padding.
        max_tokens: In place of ``batch_size``, tokens of a training batch at most, padding included, per process: many
            short windows or few long ones. Each term weighs a batch by its items (windows, tokens or pairs), so that
            the steps of an epoch add up to the mean over all of it.
        vocabulary_files: Text files or folders of them (``.txt``, ``.jsonl``) whose pieces a trimmed vocabulary keeps
            beside those of the training texts: more of the language than a question set holds.

    Raises:
        UserError: If a number is out of range, or ``vocabulary_files`` are named for a full vocabulary.
    """

    def __init__(
        self,
        tokenizer: str = EMBEDDED,
        dataset: str | None = EMBEDDED,
        dataset_config: str | None = None,
        train_files: Paths | None = None,
        validation_files: Paths | None = None,
        test_files: Paths | None = None,
        predict_files: Paths | None = None,
        max_length: int = 384,
        doc_stride: int = 128,
        max_question_length: int = 64,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        hide_questions: bool = False,
        strict: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        cache_dir: str = "~/.cache/distill",
        vocabulary: Literal["full", "trimmed"] = "full",
        pad_to_max_length: bool = False,
        max_tokens: int | None = None,
        vocabulary_files: Paths | None = None,
    ) -> None:
        files = (train_files, validation_files, test_files, predict_files)
        super().__init__(
            tokenizer,
            dataset,
            dataset_config,
            files,
            max_length,
            batch_size,
            eval_batch_size,
            seed,
            num_workers,
            cache_dir,
            max_tokens,
        )
        self.doc_stride = doc_stride
        self.max_question_length = max_question_length
        self.hide_questions = hide_questions
        self.strict = strict
        self.vocabulary = vocabulary
        self.pad_to_max_length = pad_to_max_length
        self._examples: dict[str, tuple[list[Example], ReadingReport]] = {}
        self.vocabulary_files = listed_paths(vocabulary_files)
        self._is_trimmed = False
        # The validation part as another tokenizer cuts it, where some word of it is cut otherwise.
        self._recut: WindowDataset | None = None
        if self.vocabulary_files and vocabulary == "full":
            raise UserError(
                "data.vocabulary_files say which pieces a trimmed vocabulary keeps, and this one is full: set "
                "model.init_args.student.vocabulary to trimmed, or leave the files out"
            )

    def take_tasks(self, tasks: Mapping[str | None, Task]) -> None:
        """Refuse what cannot be learned from questions.

        Raises:
            UserError: If the model's task is another one.
        """
        if (task := tasks.get(None)) is not None and not isinstance(task, QuestionAnswering):
            raise UserError(
                f"{type(self).__name__} holds questions, which a model of {task.name!r} cannot learn from; name data "
                "of that task, such as distill.LabelledDataModule"
            )

    def check(self) -> None:
        """Check the lengths against the tokenizer, before any data is read.

        Raises:
            UserError: If there is no fast tokenizer, windows have no room for a question and context, or a file of
                ``vocabulary_files`` is missing or not named as text.
        """
        VocabularyTexts([], self.vocabulary_files)
        check_lengths(self.tokenizer, self.max_length, self.doc_stride, self.max_question_length)

    def recut_validation(self, tokenizer: PreTrainedTokenizerBase) -> DataLoader[Batch] | None:
        """Return the validation part as ``tokenizer`` cuts it, of which the data's own has fewer pieces.

        How many words that makes a difference to is counted for the report; nothing where it makes none.
        """
        counts = self._counts["validation"]
        if "words" not in counts:
            texts = window_texts(self._examples_of("validation")[0], tokenizer, self.max_question_length)
            counts["words_recut"], counts["words"] = count_recut_words(tokenizer, self.tokenizer, texts)
            if counts["words_recut"]:
                self._recut, _ = self._cut("validation", tokenizer)
        return None if self._recut is None else self._evaluation_loader(self._recut)

    def _sampler(self, windows: WindowDataset) -> TrainingSampler:
        rank, num_ranks = self._rank()
        # What is padded to one length anyway gains nothing from windows of similar length.
        pool = {"pool_batches": 1} if self.pad_to_max_length else {}
        return TrainingSampler(windows.lengths, self.batch_size, self.seed, rank, num_ranks, **pool)

    def _settings(self) -> dict[str, Any]:
        trimmed = {"vocabulary": len(self.tokenizer)} if self._is_trimmed else {}
        return {"max_length": self.max_length, "doc_stride": self.doc_stride, **trimmed}

    def _load(self, split: str) -> None:
        if split in self._windows:
            return
        self._trim_vocabulary()
        examples, report = self._examples_of(split)
        self._windows[split], table = self._cut(split, self.tokenizer)
        cut, unreachable = (count_flagged(table, flag) for flag in ("question_truncated", "answer_unreachable"))
        self._counts[split] = {**report.as_dict(), "questions_truncated": cut, "answers_unreachable": unreachable}
        rank_zero_info("%s: %s", split, self._source(split))
        for line in report.describe():
            rank_zero_info("%s: %s", split, line)
        if cut:
            rank_zero_info("%s: cut %d questions to %d tokens", split, cut, self.max_question_length)
        if unreachable:
            rank_zero_info("%s: %d answers are longer than any window can hold", split, unreachable)
        rank_zero_info("%s: %d questions in %d windows", split, len(examples), len(table))
        if split != "train" and "train" in self._windows:
            self._compare_with_training(split, examples)

    def _compare_with_training(self, split: str, examples: Sequence[Example]) -> None:
        """Say how many questions of a part are trained on too: allowed, since learning them by heart is a test."""
        trained_on = {(example.question, example.context) for example in self._windows["train"].examples}
        num_shared = sum((example.question, example.context) in trained_on for example in examples)
        if num_shared:
            self._counts[split]["questions_in_training"] = num_shared
            total = len(examples)
            rank_zero_info("%s: %d of %d questions are among the training questions too", split, num_shared, total)

    def _cut(self, split: str, tokenizer: PreTrainedTokenizerBase) -> tuple[WindowDataset, datasets.Dataset]:
        """Return the windows of a part and their table, from the cache where they were made before."""
        examples, _ = self._examples_of(split)
        settings = {
            "max_length": self.max_length,
            "doc_stride": self.doc_stride,
            "max_question_length": self.max_question_length,
        }
        build = partial(_window_columns, tokenizer=tokenizer, settings=settings)
        key = fingerprint(examples, tokenizer, settings)
        table = cached_windows(build, examples, self.cache_dir / f"windows-{key}", self.num_workers)
        pads_fully = self.pad_to_max_length and split == "train"
        collate = WindowPadder(tokenizer, self.max_length, pads_fully, self.length_multiple)
        windows = WindowDataset(
            table, examples, collate, self.max_length, with_windows=split != "train", fingerprint=key
        )
        return windows, table

    def _trim_vocabulary(self) -> None:
        """Give up the pieces that the training texts never use, once."""
        if self.vocabulary == "full" or self._is_trimmed:
            return
        examples, _ = self._examples_of("train")
        full = self.tokenizer
        texts = VocabularyTexts(window_texts(examples, full, self.max_question_length), self.vocabulary_files)
        self.tokenizer = trimmed_tokenizer(full, texts, self.cache_dir)
        self._is_trimmed = True
        for line in texts.report.describe() if self.vocabulary_files else ():
            rank_zero_info("vocabulary: %s", line)
        source = "those of the training texts" + (" and of vocabulary_files" if self.vocabulary_files else "")
        rank_zero_info("vocabulary: %d of %d pieces, %s", len(self.tokenizer), len(full), source)

    def _examples_of(self, split: str) -> tuple[list[Example], ReadingReport]:
        """Return what a part holds; the training texts, which may be needed twice, are read once."""
        if split not in self._examples:
            examples, report = self._read(split)
            if self.hide_questions:
                examples = [replace(example, question="¿?") for example in examples]
            self._examples[split] = examples, report
        return self._examples[split]

    def _read_files(self, files: Sequence[str | Path], split: str) -> tuple[list[Example], ReadingReport]:
        return read_examples(files, strict=self.strict, require_answers=split != "predict")

    def _read_embedded(self, name: str) -> tuple[list[Example], ReadingReport]:
        with resources.as_file(resources.files("distill.assets") / "qa_es" / f"{name}.json") as file:
            return read_examples([file], strict=self.strict)

    def _read_hub(self, dataset: str, split: str) -> tuple[list[Example], ReadingReport]:
        return read_hub(dataset, self.dataset_config, split=_HUB_SPLITS[split], strict=self.strict)


def _window_columns(
    examples: Sequence[Example], first_index: int, tokenizer: PreTrainedTokenizerBase, settings: dict[str, int]
) -> dict[str, list[Any]]:
    return build_windows(examples, tokenizer, **settings, example_index_offset=first_index)
