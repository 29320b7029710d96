"""Building a store: whole or not at all, alone or together."""

import io
import multiprocessing
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from distill.models.loading import load_frozen
from distill.tasks.question_answering.task import QuestionAnswering
from distill.teaching.building import Processes, build_store, building_batches
from distill.teaching.sources import LOGITS_ALONE, ModelSource, stored_sizes
from distill.teaching.store import CannotStoreError, LogitStore
from distill.types import Recording, UserError

from .conftest import training_windows

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    """A few windows make several batches."""
    monkeypatch.setattr(
        "distill.teaching.building.building_batches", lambda lengths, widths: building_batches(lengths, widths, 128)
    )


def build(teacher, windows, target, processes=None, dtype="float32", key="key"):
    build_store(teacher, windows, target, key, dtype, processes or Processes(), CPU, show_progress=False)


class Together:
    """The processes of one machine, as threads."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.answers: dict[int, bool] = {}
        self.barrier = threading.Barrier(count, timeout=20)

    def process(self, rank: int) -> Processes:
        def agree(answer: bool) -> bool:
            self.answers[rank] = answer
            self.barrier.wait()
            all_agree = all(self.answers.values())
            self.barrier.wait()
            return all_agree

        return Processes(rank, self.count, "together", agree)

    def run(self, work) -> list:
        with ThreadPoolExecutor(self.count) as pool:
            return [future.exception() for future in [pool.submit(work, self.process(i)) for i in range(self.count)]]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 200))
def test_batches_hold_every_window_once_within_the_budget_longest_first(lengths, max_tokens):
    lengths = np.array(lengths)
    widths = -(-lengths // 8) * 8
    batches = building_batches(lengths, widths, max_tokens)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * widths[batch].max() <= max_tokens for batch in batches)
    assert (np.diff(lengths[np.concatenate(batches)]) <= 0).all()


def test_stored_logits_are_the_teachers_for_every_window(teacher, windows, tmp_path):
    build(teacher, windows, tmp_path / "logits.npy")
    store = LogitStore(tmp_path / "logits.npy", "key", windows.lengths)
    for window_id in range(len(windows)):
        batch = windows[[window_id]]
        logits = teacher.record(batch, LOGITS_ALONE).logits[batch.attention_mask.bool()]
        torch.testing.assert_close(store.rows([window_id]), logits, rtol=0, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir() if path.is_file() and path.suffix != ".json"] == ["logits.npy"]


def test_a_head_that_scores_windows_as_a_whole_has_one_row_for_each(pairs_teacher, pairs, tmp_path):
    build(pairs_teacher, pairs, tmp_path / "logits.npy")
    sizes = stored_sizes(pairs.lengths, pairs_teacher.task)
    store = LogitStore(tmp_path / "logits.npy", "key", sizes)
    assert np.load(tmp_path / "logits.npy").shape == (23, 2)
    alone = torch.cat([pairs_teacher.record(pairs[[window_id]], LOGITS_ALONE).logits for window_id in range(23)])
    assert len(set(pairs.lengths)) > 4
    assert alone[:, 0].std() > 1e-3
    torch.testing.assert_close(store.rows(range(23)), alone, rtol=0, atol=1e-6)


def test_two_processes_share_the_rows_of_windows(pairs_teacher, pairs, tmp_path):
    build(pairs_teacher, pairs, tmp_path / "alone.npy")
    errors = Together(2).run(lambda processes: build(pairs_teacher, pairs, tmp_path / "shared.npy", processes))
    assert errors == [None, None]
    assert (tmp_path / "shared.npy").read_bytes() == (tmp_path / "alone.npy").read_bytes()


def test_logits_of_another_shape_than_the_task_says_are_not_stored(pairs_teacher, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs_teacher.task, "scores_tokens", True)
    with pytest.raises(CannotStoreError, match="not one row a token, or a window"):
        build(pairs_teacher, pairs, tmp_path / "logits.npy")
    assert not list(tmp_path.glob("*logits*"))


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_share_the_work_of_one_file(teacher, windows, tmp_path, count):
    build(teacher, windows, tmp_path / "alone.npy")
    seen: list[int] = []

    class Counting:
        fingerprint, lengths, widths = windows.fingerprint, windows.lengths, windows.widths

        def __getitem__(self, window_ids):
            seen.extend(window_ids)
            return windows[window_ids]

    errors = Together(count).run(lambda processes: build(teacher, Counting(), tmp_path / "shared.npy", processes))
    assert errors == [None] * count
    assert (tmp_path / "shared.npy").read_bytes() == (tmp_path / "alone.npy").read_bytes()
    assert len(seen) == len(windows) + 1  # and one to learn the shape


class Small:
    """A teacher on a device whose memory holds so many tokens."""

    def __init__(self, teacher: ModelSource, num_tokens: int) -> None:
        self.teacher, self.num_tokens, self.task = teacher, num_tokens, teacher.task
        self.sizes: list[int] = []
        self.failed = 0

    def record(self, batch, plan):
        self.sizes.append(batch.attention_mask.numel())
        if self.sizes[-1] > self.num_tokens:
            self.failed += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.teacher.record(batch, plan)


def test_batches_that_memory_does_not_hold_are_halved_with_all_after_them(teacher, windows, tmp_path):
    build(teacher, windows, tmp_path / "whole.npy")
    longest = windows[[int(windows.lengths.argmax())]].attention_mask.numel()
    small = Small(teacher, longest)
    build(small, windows, tmp_path / "halved.npy")
    assert small.failed <= 2  # then all are small enough: 128 tokens are four windows at most
    whole, halved = (LogitStore(tmp_path / f"{name}.npy", "key", windows.lengths) for name in ("whole", "halved"))
    every = list(range(len(windows)))
    torch.testing.assert_close(halved.rows(every), whole.rows(every), rtol=0, atol=1e-6)


def test_a_window_that_memory_does_not_hold_names_what_to_lower(teacher, windows, tmp_path):
    shortest = windows[[int(windows.lengths.argmin())]].attention_mask.numel()
    longest = int(windows.lengths.max())
    with pytest.raises(UserError, match=f"out of memory: .* one window of {longest} tokens; lower data.max_length"):
        build(Small(teacher, shortest), windows, tmp_path / "logits.npy")
    assert not list(tmp_path.glob("*logits*"))


class Failing:
    """A teacher that breaks after some batches."""

    def __init__(self, teacher: ModelSource, error: BaseException, after: int = 3) -> None:
        self.teacher, self.error, self.left = teacher, error, after
        self.task = teacher.task

    def record(self, batch, plan) -> Recording:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return self.teacher.record(batch, plan)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_build_that_broke_in_the_middle(teacher, windows, tmp_path, error):
    folder = tmp_path / "stores"
    folder.mkdir()
    with pytest.raises(type(error)):
        build(Failing(teacher, error), windows, folder / "logits.npy")
    assert not list(folder.iterdir())


def test_what_a_killed_run_has_left_is_removed_and_named(teacher, windows, tmp_path, caplog):
    left = tmp_path / ".logits-0123.npy.abc-0.partial"
    left.touch()
    os.utime(left, (0, 0))
    with caplog.at_level("INFO"):
        build(teacher, windows, tmp_path / "logits-4567.npy")
    assert [path.name for path in tmp_path.glob("*logits*")] == ["logits-4567.npy"]
    assert f"removed {left}" in caplog.text


def test_older_file_stays_when_its_replacement_breaks(teacher, windows, tmp_path):
    build(teacher, windows, tmp_path / "logits.npy")
    with pytest.raises(RuntimeError):
        build(Failing(teacher, RuntimeError()), windows, tmp_path / "logits.npy")
    LogitStore(tmp_path / "logits.npy", "key", windows.lengths)


def test_one_process_that_cannot_write_fails_all_of_them(teacher, windows, tmp_path):
    folder = tmp_path / "stores"

    def work(processes):
        error = OSError(28, "No space left on device")
        failing = Failing(teacher, error, after=0) if processes.rank == 1 else teacher
        build(failing, windows, folder / "logits.npy", processes)

    first, second = Together(2).run(work)
    assert isinstance(first, CannotStoreError)
    assert "No space left" in str(second)
    assert not list(folder.iterdir())


def test_folder_that_cannot_be_written_is_an_error_of_its_own(teacher, windows, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CannotStoreError, match="file"):
        build(teacher, windows, tmp_path / "file" / "logits.npy")


def test_two_runs_that_build_at_the_same_time_both_end_with_a_whole_file(teacher, windows, tmp_path):
    target, start = tmp_path / "logits.npy", threading.Barrier(2, timeout=20)

    class Waiting:
        """Neither run goes on before the other has come as far."""

        fingerprint, lengths, widths = windows.fingerprint, windows.lengths, windows.widths

        def __getitem__(self, window_ids):
            start.wait()
            return windows[window_ids]

    def run(_):
        build(teacher, Waiting(), target)
        return LogitStore(target, "key", windows.lengths).rows(range(len(windows)))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, range(2))
    assert torch.equal(first, second)
    assert [path.name for path in tmp_path.glob("*logits*")] == ["logits.npy"]


def _build_in_a_process(settings, teacher_folder, target):
    task = QuestionAnswering()
    build(ModelSource(load_frozen(task, teacher_folder), task), training_windows(settings), target)


def test_progress_is_drawn_within_the_bar_of_the_training(teacher, windows, tmp_path, monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr("distill.teaching.building.get_console", lambda: console)
    target = tmp_path / "logits.npy"
    with Progress(console=console, auto_refresh=False) as training:
        training.add_task("training", total=3)
        build_store(teacher, windows, target, "key", "float16", Processes(), CPU, show_progress=True)
    drawn = console.file.getvalue()
    assert "training" in drawn
    counts = re.findall(r"(\d+)/22", drawn)
    assert len(set(counts)) > 3
    assert counts[-1] == "22"


@pytest.mark.slow
def test_two_processes_that_build_at_once_end_with_a_whole_file(settings, teacher_folder, windows, tmp_path):
    target = tmp_path / "logits.npy"
    context = multiprocessing.get_context("spawn")
    arguments = (settings, str(teacher_folder), target)
    processes = [context.Process(target=_build_in_a_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    LogitStore(target, "key", windows.lengths)
    assert [path.name for path in tmp_path.glob("*logits*")] == ["logits.npy"]
