"""What data modules share whose parts come from files, the package or the hub, and are cut into windows on disk."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from distill.data.averages import average_batch
from distill.data.base import SPLITS, TaskDataModule
from distill.data.identity import Identity
from distill.data.sampling import EvaluationSampler, TokenBudgetSampler, TrainingSampler, evaluation_batches
from distill.data.windows import WindowDataset
from distill.files import Paths, listed_paths
from distill.models.loading import EMBEDDED
from distill.processor import LENGTH_MULTIPLE, length_multiple
from distill.types import Batch, UserError


class WindowedDataModule(TaskDataModule):
    """Batches of windows of similar length, from one source for each part.

    Args:
        tokenizer: As for :class:`~distill.data.base.TaskDataModule`.
        dataset: ``embedded``, a hub name, or nothing when files are named for every part in use.
        dataset_config: Configuration of the hub data set.
        files: Files of the parts train, validation, test and predict; None where the part comes from ``dataset``.
        max_length: Tokens of a window at most.
        batch_size: Windows in a training batch, per process.
        max_tokens: In its place, tokens of a training batch at most, padding included.
        eval_batch_size: Windows in an evaluation batch, per process.
        seed: Decides the order of training batches.
        num_workers: Processes that prepare batches.
        cache_dir: Where tokenised windows are kept.

    Raises:
        UserError: If a number is out of range, or files to train on would be scored on the embedded set.
    """

    def __init__(
        self,
        tokenizer: str,
        dataset: str | None,
        dataset_config: str | None,
        files: Sequence[Paths | None],
        max_length: int,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        num_workers: int,
        cache_dir: str,
        max_tokens: int | None = None,
    ) -> None:
        super().__init__(tokenizer, batch_size, eval_batch_size, seed, num_workers, cache_dir)
        self.dataset = dataset
        self.dataset_config = dataset_config
        self.files = dict(zip(SPLITS, map(listed_paths, files), strict=True))
        self.max_length = max_length
        self.take_budget(max_tokens)
        self._windows: dict[str, WindowDataset] = {}
        self._counts: dict[str, dict[str, int]] = {}
        if self.files["train"] and not self.files["validation"] and dataset == EMBEDDED:
            raise UserError(
                "data.train_files without data.validation_files would be scored on the embedded set; name both"
            )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return this process's share of the validation part."""
        return self._evaluation_loader(self._windows["validation"])

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return this process's share of the test part."""
        return self._evaluation_loader(self._windows["test"])

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return this process's share of the predict part."""
        return self._evaluation_loader(self._windows["predict"])

    def summary(self) -> dict[str, Any]:
        """Return what was read, repaired, dropped and cut, in plain numbers, for the report."""
        return {
            **self._settings(),
            **{
                split: {
                    "source": self._source(split),
                    "examples": len(windows.examples),
                    "windows": len(windows),
                    "tokens": int(windows.lengths.sum()),
                    **self._counts[split],
                    **({"left_out_of_each_pass": self.num_left_out} if split == "train" and self.num_left_out else {}),
                }
                for split, windows in self._windows.items()
            },
        }

    def identities(self, place: str = "data") -> dict[str, Identity]:
        """Return what the training windows are."""
        if (windows := self._windows.get("train")) is None:
            return {}
        return {place: Identity(source=self._source("train"), fingerprint=windows.fingerprint, items=len(windows))}

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """Return the settings that the report names."""

    @abstractmethod
    def _read_files(self, files: Sequence[str | Path], split: str) -> Any:
        """Read a part from files."""

    @abstractmethod
    def _read_embedded(self, name: str) -> Any:
        """Read ``train`` or ``dev`` of what the package carries."""

    @property
    def can_predict(self) -> bool:
        """Whether ``predict_files`` are named."""
        return bool(self.files["predict"])

    @abstractmethod
    def _read_hub(self, dataset: str, split: str) -> Any:
        """Read a part from the hub."""

    def _read(self, split: str) -> Any:
        """Read a part from where it is to come from."""
        # The validation files serve the test command too, where it has none of its own.
        files = self.files[split] or (self.files["validation"] if split == "test" else None)
        if files:
            return self._read_files(files, split)
        if split == "predict":
            raise UserError("predict: nothing to predict; name files with --data.predict_files")
        if self.dataset == EMBEDDED:
            return self._read_embedded("train" if split == "train" else "dev")
        if self.dataset is None:
            raise UserError(f"no data for {split}: name files with --data.{split}_files or a --data.dataset")
        return self._read_hub(self.dataset, split)

    def _source(self, split: str) -> str:
        files = self.files[split] or (self.files["validation"] if split == "test" else None)
        return ", ".join(Path(file).name for file in files) if files else str(self.dataset)

    @property
    def length_multiple(self) -> int:
        """What the lengths of batches are rounded up to a multiple of: what suits the run's device and precision."""
        if self.trainer is None:
            return LENGTH_MULTIPLE
        return length_multiple(self.trainer.strategy.root_device.type, is_float32=self.trainer.precision == "32-true")

    def _passes(self) -> DataLoader[Batch]:
        windows = self._windows["train"]
        if self.max_tokens is None:
            return self._training_loader(windows, self._sampler(windows))
        sampler = TokenBudgetSampler(windows.widths, self.max_tokens, self.seed, *self._rank())
        windows.average = average_batch(windows, sampler)
        return self._training_loader(windows, sampler)

    def _sampler(self, windows: WindowDataset) -> TrainingSampler:
        """Return what shuffles the training windows, where batches hold equally many."""
        return TrainingSampler(windows.lengths, self.batch_size, self.seed, *self._rank())

    def _evaluation_loader(self, windows: WindowDataset) -> DataLoader[Batch]:
        batches = evaluation_batches(windows.lengths, self.eval_batch_size, *self._rank())
        return self._loader(windows, EvaluationSampler(batches))
