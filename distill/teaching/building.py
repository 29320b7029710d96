"""Storing a teacher's logits for a whole training set, once, by all processes of a machine together."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from rich import get_console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from distill.data.sampling import cut_by_tokens
from distill.processor import is_out_of_memory
from distill.teaching.sources import LOGITS_ALONE, ModelSource, stored_sizes
from distill.teaching.store import CannotStoreError, LogitWriter, create_store, remove_abandoned, seal_store
from distill.types import Batch, UserError

#: Tokens in a batch, padding included: big enough for any device, and on most of them small enough.
TOKENS_PER_BATCH = 16384


class StorableWindows(Protocol):
    """Training windows that are the same every epoch, so that a teacher need see them only once.

    The data set of any training dataloader may offer them.
    """

    #: Hash of everything that the windows' inputs depend on.
    fingerprint: str
    #: Tokens of each window, (M,).
    lengths: NDArray[np.int64]

    @property
    def widths(self) -> NDArray[np.int64]:
        """How long each window becomes in a batch of its like, (M,)."""
        ...

    def __getitem__(self, window_ids: list[int]) -> Batch:
        """Return the windows as one padded batch."""
        ...


@dataclass(frozen=True)
class Processes:
    """The processes of one machine that build together, each for itself unless told otherwise.

    Attributes:
        rank: This process among them.
        count: How many there are.
        token: A name for this attempt, the same in all of them and in no other machine's.
        agree: Waits for all of them and returns whether all say yes.
    """

    rank: int = 0
    count: int = 1
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    agree: Callable[[bool], bool] = bool


def building_batches(
    lengths: NDArray[np.int64], widths: NDArray[np.int64], max_tokens: int = TOKENS_PER_BATCH
) -> list[NDArray[np.int64]]:
    """Cut windows into batches of at most ``max_tokens`` tokens, padding included, sorted by length, longest first.

    Every window is in exactly one batch; one that is longer than ``max_tokens`` is a batch of its own.

    Args:
        lengths: Tokens of each window, (M,).
        widths: What they become in a batch of their like, (M,).
        max_tokens: Tokens of a batch at most.
    """
    return cut_by_tokens(np.argsort(-lengths, kind="stable"), widths, max_tokens)


def build_store(
    teacher: ModelSource,
    windows: StorableWindows,
    target: Path,
    key: str,
    dtype: str,
    processes: Processes,
    device: torch.device,
    show_progress: bool,
) -> None:
    """Run a teacher over all windows and store its logits at ``target``.

    Every process runs its share of the batches and writes it to one temporary file, which the first one seals and
    moves to its place. Two runs that build at the same time each do it for themselves; the files are the same. What
    runs that were killed have left unfinished there is removed. Batches that do not fit into memory are halved.

    Args:
        teacher: The teacher, on ``device``.
        windows: The training windows.
        target: Where the file belongs.
        key: What the logits depend on.
        dtype: ``float16`` or ``float32``.
        processes: Who builds.
        device: Where the teacher runs.
        show_progress: Whether this process draws a progress bar.

    Raises:
        CannotStoreError: On every process, if any of them cannot write, the logits do not fit into ``dtype``, or the
            task's are not one row a token, or a window.
        UserError: If memory does not hold the teacher at work on a single window.
    """
    partial = target.with_name(f".{target.name}.{processes.token}.partial")
    own = building_batches(windows.lengths, windows.widths)[processes.rank :: processes.count]
    held = ExitStack()

    def begin() -> None:
        for left in remove_abandoned(target.parent):
            rank_zero_info("teacher: removed %s, which a run that was killed has left", left)
        held.enter_context(_create(teacher, windows, partial, dtype, device))

    try:
        error = _attempt(begin) if processes.rank == 0 else None
        _agree(processes, error)
        error = _attempt(lambda: _fill(teacher, windows, partial, own, device, show_progress))
        _agree(processes, error)
        error = _attempt(lambda: seal_store(partial, key, target)) if processes.rank == 0 else None
        _agree(processes, error)
    finally:
        held.close()
        if processes.rank == 0:
            with suppress(OSError):  # gone where all went well, and never made where its folder cannot be
                partial.unlink()


def _create(
    teacher: ModelSource, windows: StorableWindows, partial: Path, dtype: str, device: torch.device
) -> IO[bytes]:
    """Make and hold the temporary file, for rows of the shape that the teacher gives for one window."""
    batch = windows[[int(windows.lengths.argmin())]].to(device)
    logits = teacher.record(batch, LOGITS_ALONE).logits
    assert logits is not None
    places = batch.attention_mask.shape if teacher.task.scores_tokens else batch.window_ids.shape
    if logits.ndim <= len(places) or logits.shape[: len(places)] != places:
        raise CannotStoreError("the task's logits are not one row a token, or a window")
    num_rows = int(stored_sizes(windows.lengths, teacher.task).sum())
    return create_store(partial, num_rows, tuple(logits.shape[len(places) :]), dtype)


def _fill(
    teacher: ModelSource,
    windows: StorableWindows,
    partial: Path,
    batches: Sequence[NDArray[np.int64]],
    device: torch.device,
    show_progress: bool,
) -> None:
    """Write the logits of some batches of windows, longest first; what memory does not hold is cut finer."""
    columns = (TextColumn("teacher's logits"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    writer = LogitWriter(partial, stored_sizes(windows.lengths, teacher.task))
    try:
        with Progress(*columns, console=get_console(), disable=not show_progress, transient=True) as progress:
            task_id = progress.add_task("", total=sum(len(batch) for batch in batches))
            pending = deque(batches)
            while pending:
                window_ids = pending.popleft()
                if not _fits(_write, teacher, windows, writer, window_ids, device):
                    pending = _halved(window_ids, pending, windows.lengths)
                    continue
                progress.advance(task_id, len(window_ids))
                progress.refresh()  # within the training's bar this one is not drawn by itself
    finally:
        writer.close()


def _write(
    teacher: ModelSource,
    windows: StorableWindows,
    writer: LogitWriter,
    window_ids: NDArray[np.int64],
    device: torch.device,
) -> None:
    """Run the teacher on a batch and write its logits."""
    batch = windows[window_ids.tolist()].to(device)
    logits = teacher.record(batch, LOGITS_ALONE).logits
    assert logits is not None
    rows = logits[batch.attention_mask.bool()] if teacher.task.scores_tokens else logits
    writer.write(window_ids.tolist(), rows)


def _fits(work: Callable[..., None], *arguments: Any) -> bool:
    """Do something, and return whether memory held it; when this returns, what it left behind is free again."""
    try:
        work(*arguments)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _halved(
    window_ids: NDArray[np.int64], pending: Iterable[NDArray[np.int64]], lengths: NDArray[np.int64]
) -> deque[NDArray[np.int64]]:
    """Return a batch that memory did not hold, and those that come after it, in batches of half its tokens."""
    longest = int(lengths[window_ids[0]])
    if len(window_ids) == 1:
        raise UserError(
            f"out of memory: it does not hold the teacher at work on one window of {longest} tokens; lower "
            "data.max_length, of plain text data.block_length, or take a smaller teacher"
        )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    max_tokens = len(window_ids) * longest // 2
    rank_zero_info("teacher: out of memory, goes on with at most %d tokens at once", max_tokens)
    return deque(cut_by_tokens(np.concatenate([window_ids, *pending]), lengths, max_tokens))


def _attempt(work: Callable[[], None]) -> CannotStoreError | None:
    """Do something; return what failed, so that no other process waits for one that is gone."""
    try:
        work()
    except CannotStoreError as error:
        return error
    except OSError as error:
        return CannotStoreError(str(error))
    return None


def _agree(processes: Processes, error: CannotStoreError | None) -> None:
    """Wait for all processes; raise on each of them if one has failed."""
    if not processes.agree(error is None):
        raise error if error is not None else CannotStoreError("another process failed")
