"""One campaign of kills: an uninterrupted run, and others that are killed until so many kills are spent."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import resources
from itertools import islice
from pathlib import Path

from distill.assets.text_es.generate import sample_documents
from distill.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]

#: Kills of one run; after so many it is left to end.
KILLS_PER_RUN = 5


@dataclass
class Outcome:
    """What became of a run that was killed: when, how often, and whether it ended as the uninterrupted one."""

    moments: list[str] = field(default_factory=list)
    num_kills: int = 0
    same_student: bool = False


def questions(folder: Path) -> dict[str, Path]:
    """Write a few paragraphs of the embedded sets as files."""
    files = {}
    for name, part, count in (("train", "train", 24), ("validation", "dev", 4)):
        source = resources.files("distill.assets") / "qa_es" / f"{part}.json"
        document = json.loads(source.read_text(encoding="utf-8"))
        paragraphs = [paragraph for article in document["data"] for paragraph in article["paragraphs"]][:count]
        files[name] = folder / f"{name}.json"
        document["data"] = [{"title": "few", "paragraphs": paragraphs}]
        files[name].write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return files


def texts(folder: Path) -> dict[str, Path]:
    """Write a few documents of the embedded sample as files."""
    documents = sample_documents()
    files = {}
    for name, count in (("train", 60), ("validation", 8)):
        files[name] = folder / f"{name}.txt"
        files[name].write_text("\n\n\n".join(islice(documents, count)), encoding="utf-8")
    return files


#: What is killed: the name of a configuration beside this file, and what writes the files that it reads.
CONFIGS: dict[str, Callable[[Path], dict[str, Path]]] = {"distill": questions, "pretrain": texts}


class Campaign:
    """Kills ``kills`` processes with a signal at moments drawn from ``seed`` and resumes with ``--ckpt_path auto``."""

    def __init__(
        self,
        kills: int,
        signal: str = "KILL",
        seed: int = 0,
        jobs: int = 1,
        folder: str = "kills",
        config: str = "distill",
        devices: int = 1,
        workers: int = 0,
    ) -> None:
        self.kills, self.signal, self.seed, self.jobs = kills, signal, seed, jobs
        self.devices, self.workers = devices, workers
        self.has_group = devices > 1 or workers > 0
        self.folder = Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = Path(__file__).with_name(f"{config}.yaml")
        self.files = CONFIGS[config](self.folder)
        self.run_seconds = 0.0
        self.num_steps = 0

    def run(self) -> bool:
        """Print how many were tried and how many held; return whether all did."""
        whole = self.folder / "whole"
        began = time.time()
        process, log = self.start(whole)
        code = process.wait()
        assert code == 0, log.read_text(encoding="utf-8")
        self.run_seconds = time.time() - began
        self.num_steps = status(whole)["step"]
        say(f"uninterrupted: {self.run_seconds:.1f} s, {self.num_steps} steps")
        counts = [KILLS_PER_RUN] * (self.kills // KILLS_PER_RUN)
        counts += [rest] if (rest := self.kills % KILLS_PER_RUN) else []
        with ThreadPoolExecutor(self.jobs) as pool:
            outcomes = list(pool.map(lambda pair: self.trial(*pair, whole), enumerate(counts)))
        num_kills = sum(outcome.num_kills for outcome in outcomes)
        held = [outcome for outcome in outcomes if outcome.same_student]
        say(
            f"SIG{self.signal}: {num_kills} kills of {len(outcomes)} runs, each of {self.devices} processes, "
            f"seed {self.seed}; {len(held)} of {len(outcomes)} runs end with the same student, bit for bit "
            f"({sum(outcome.num_kills for outcome in held)} of {num_kills} kills held)"
        )
        return len(held) == len(outcomes) and num_kills == self.kills

    def trial(self, index: int, kills: int, whole: Path) -> Outcome:
        """Kill one run so often and let it end; one that ends before that gives way to another."""
        outcome = Outcome()
        generator = random.Random(f"{self.seed}-{self.signal}-{index}")
        folders = [self.folder / f"{self.signal.lower()}-{index}"]
        while outcome.num_kills < kills and len(folders) <= kills:
            if status(folders[-1]).get("state") == "finished":
                folders.append(folders[0].with_name(f"{folders[0].name}-{len(folders)}"))
            moment = self.kill(folders[-1], generator)
            if moment is not None:
                outcome.num_kills += 1
                outcome.moments.append(moment)
        log, code = folders[-1] / "log.txt", 0
        if status(folders[-1]).get("state") != "finished":  # a signal may come when nothing is left to stop
            process, log = self.start(folders[-1])
            code = process.wait()
        outcome.same_student = code == 0 and all(ending(folder) == ending(whole) for folder in folders)
        verdict = "same" if outcome.same_student else f"DIFFERENT: exit code {code}, see {log}"
        resumed = [status(folder).get("resumed_at") for folder in folders]
        say(f"run {index}: killed {', '.join(outcome.moments)}; resumed at steps {resumed}: {verdict}")
        return outcome

    def kill(self, folder: Path, generator: random.Random) -> str | None:
        """Run a process until a random moment and kill it; return when, None where it had ended before.

        Every second moment lies anywhere, loading and reporting included; the others right behind a random step that
        the process has yet to reach, since training is the shorter part of so short a run.
        """
        logged = logged_step(folder)
        process, _ = self.start(folder)
        started, since = time.monotonic(), "its start"
        seconds = generator.uniform(0.0, self.run_seconds)
        if generator.random() < 0.5 and logged < self.num_steps - 1:
            step = generator.randint(logged + 1, self.num_steps - 1)
            while process.poll() is None and logged_step(folder) < step:
                time.sleep(0.02)
            seconds, since = generator.uniform(0.0, 0.5), f"step {step}"
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            number = getattr(signal, f"SIG{self.signal}")
            if self.has_group:
                os.killpg(process.pid, number)  # as a scheduler ends all processes of a job
            else:
                process.send_signal(number)
            process.wait()
            return f"{seconds:.1f} s after {since} ({time.monotonic() - started:.0f} s in all)"
        return None

    def start(self, folder: Path, *options: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start or resume the fit in a folder, with more options."""
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log.txt"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
        command = [
            *(sys.executable, ROOT / "train.py", "fit", f"--config={self.config}", "--ckpt_path=auto"),
            *(f"--data.{name}_files=[{file}]" for name, file in self.files.items()),
            *(f"--data.cache_dir={folder / 'cache'}", f"--trainer.devices={self.devices}"),
            *(f"--data.num_workers={self.workers}", *options),
        ]
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=self.has_group,
            )
        return process, log


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run_folders(folder: Path) -> list[Path]:
    return sorted((folder / "runs" / "kills").glob("version_*"))


def logged_step(folder: Path) -> int:
    """Return the last step in the log of the latest run in a folder, -1 where there is none."""
    found = [path / "metrics.csv" for path in run_folders(folder) if (path / "metrics.csv").is_file()]
    rows = list(csv.DictReader(found[-1].read_text(encoding="utf-8").splitlines())) if found else []
    return max((int(float(row["step"])) for row in rows if row.get("step")), default=-1)


def status(folder: Path) -> dict:
    """Return ``status.json`` of the latest run in a folder; nothing where there is none."""
    found = [path / "status.json" for path in run_folders(folder) if (path / "status.json").is_file()]
    return json.loads(found[-1].read_text(encoding="utf-8")) if found else {}


def ending(folder: Path) -> str:
    """Return a digest of what the one finished run in a folder ended with: its student, and all that trained on.

    The student is the best checkpoint's; the last one's weights and moments show differences that came later.
    """
    (weights,) = (folder / "runs" / "kills").glob("version_*/student/model.safetensors")
    digest = hashlib.sha256(weights.read_bytes())
    last = load_checkpoint(weights.parents[1] / "checkpoints" / "last.ckpt")
    moments = [
        tensor for state in last["optimizer_states"] for entry in state["state"].values() for tensor in entry.values()
    ]
    for tensor in (*last["state_dict"].values(), *moments):
        digest.update(tensor.cpu().numpy().tobytes())
    return f"step {last['global_step']}: {digest.hexdigest()}"
