"""How a command ends that cannot go on: one line and an exit code, or the traceback of a mistake of ours."""

import signal
from unittest.mock import Mock

import pytest
import torch

from distill.callbacks.signals import RunStopped
from distill.cli import main


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_full_memory_ends_with_one_line_that_names_the_knobs(error, monkeypatch, capsys):
    def fail(args):
        raise error

    monkeypatch.setattr("distill.cli.DistillCLI", fail)
    with pytest.raises(SystemExit) as stop:
        main(["fit"])
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out of memory: halve data.batch_size (or data.max_tokens)")
    assert "double trainer.accumulate_grad_batches" in line
    assert "one window already (data.max_tokens as small as data.max_length) lower data.max_length" in line


@pytest.mark.parametrize(
    "error",
    [
        torch.distributed.DistBackendError("NCCL error: remote process exited or there was a network error"),
        RuntimeError("[gloo/transport/tcp/pair.cc:544] Connection closed by peer [127.0.0.1]:1"),
    ],
)
def test_lost_process_ends_the_others_with_one_line(error, monkeypatch, capsys):
    monkeypatch.setattr("distill.cli.DistillCLI", Mock(side_effect=error))
    with pytest.raises(SystemExit) as stop:
        main(["fit"])
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: another process of this run has ended or does not answer; see what it says: {error}"


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({}, 143),
        ({"LOCAL_RANK": "0"}, 143),
        ({"LOCAL_RANK": "1"}, 0),  # of those that Lightning has started; it would kill the first one for another code
        ({"LOCAL_RANK": "1", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "fit"}, 143),
        ({"LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "7", "WORLD_SIZE": "2"}, 143),
    ],
)
def test_stopped_run_says_so_by_its_exit_code(environment, code, monkeypatch):
    for name in ("LOCAL_RANK", "SLURM_NTASKS", "SLURM_JOB_NAME", "TORCHELASTIC_RUN_ID", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stop = RunStopped(signal.SIGTERM, "at step 2")
    monkeypatch.setattr("distill.cli.DistillCLI", Mock(side_effect=stop))
    with pytest.raises(SystemExit) as end:
        main(["fit"])
    assert end.value.code == code


@pytest.mark.parametrize(("is_saved", "hint"), [(True, "; go on with --ckpt_path auto"), (False, "")])
def test_stopped_run_says_how_to_go_on_where_there_is_something_to_go_on_with(is_saved, hint, monkeypatch, capsys):
    stop = RunStopped(signal.SIGTERM, "at step 2", is_saved)
    monkeypatch.setattr("distill.cli.DistillCLI", Mock(side_effect=stop))
    with pytest.raises(SystemExit):
        main(["fit"])
    assert capsys.readouterr().err == f"stopped by SIGTERM at step 2{hint}\n"


def test_other_errors_of_torch_keep_their_traceback(monkeypatch):
    def fail(args):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("distill.cli.DistillCLI", fail)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        main(["fit"])
