"""Weights & Biases without questions: online with credentials, offline by itself without."""

from __future__ import annotations

import netrc
import os
import shutil
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
from wandb.errors import CommError, UsageError

Mode = Literal["online", "offline", "disabled", "shared"]

#: What a reader of the workspace has to know about names and units.
NOTES = """\
The x axis is the optimizer step.

- `train/<stage>/<term>`: each loss term, raw; `train/loss`: their weighted sum
- `val/...`, `test/...`, `report/.../scores/...`: per cent, unless the name is a loss or a perplexity
- `latency/<model>/p50_ms/b<batch>_s<tokens>`: milliseconds of a call; `windows_per_second`: throughput
- `report/...`: the result; ratios are better above 1; `size_bytes`: bytes; `report/page`: everything on one page
"""

#: Older names that ``WANDB_MODE`` still takes.
_MODE_ALIASES = {"dryrun": "offline", "run": "online"}


class WandbRun(WandbLogger):
    """A W&B logger that never asks and never blocks.

    The mode is what ``WANDB_MODE`` says; when it says nothing, online if there are credentials, else offline. A run
    that should be online but has no credentials, or cannot reach the server within ``init_timeout`` seconds, goes on
    offline and says so. Offline runs are sent later with ``wandb sync``; one that ends before a metric was logged, such
    as that of a command that is refused or stopped while it loads, leaves nothing.

    Every logged metric is in the run's summary with its last value; the metrics named by ``best`` also with their
    highest, those named by ``lowest`` with their lowest. Hyperparameters are stored under dotted keys
    (``model.temperature``), as on the command line. Charts run over optimizer steps, counters have none of their own,
    and the run's notes say what names and units mean. What waits to be sent lies in ``save_dir``.

    List it after the :class:`~lightning.pytorch.loggers.CSVLogger`: the first logger decides the run's folder.

    Args:
        project: W&B project.
        name: Name of the run; W&B invents one when left out.
        save_dir: Folder that gets the ``wandb`` folder; it is made when missing.
        id: Identifier of a run to go on with.
        group: Runs that belong together, such as the seeds of one experiment.
        tags: Labels of the run.
        best: Metrics whose highest value is kept in the summary, beside the last one.
        lowest: Metrics whose lowest value is kept so.
        notes: Text on the run's page, in Markdown.
        init_timeout: Seconds to wait for the server before going on offline.
    """

    def __init__(
        self,
        project: str = "distill",
        name: str | None = None,
        save_dir: str = "lightning_logs",
        id: str | None = None,  # noqa: A002  (W&B's own name, also in its documentation)
        group: str | None = None,
        tags: Sequence[str] = (),
        best: Sequence[str] = ("val/f1", "val/exact_match"),
        lowest: Sequence[str] = ("val/perplexity", "val/cross_entropy"),
        notes: str = NOTES,
        init_timeout: float = 30.0,
    ) -> None:
        # Silent: W&B's own lines would tear the progress bar; console off: so would its copy of the output.
        settings = wandb.Settings(silent=True, console="off", init_timeout=init_timeout)
        super().__init__(
            name=name,
            save_dir=save_dir,
            id=id,
            project=project,
            group=group,
            tags=list(tags),
            notes=notes,
            settings=settings,
        )
        # Lightning passes it even when unset, and W&B warns about it.
        self._wandb_init.pop("anonymous", None)
        self.best = tuple(best)
        self.lowest = tuple(lowest)
        self._has_metrics = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run; started on first use, on the first process only."""
        if self._experiment is None:
            folder = Path(self._wandb_init["dir"])
            folder.mkdir(parents=True, exist_ok=True)
            # Artifacts wait here, beside the run that they belong to, and not in the user's home.
            os.environ.setdefault("WANDB_DATA_DIR", str(folder.resolve() / "wandb"))
            self._wandb_init["mode"] = choose_mode()
            run = self._start()
            for metrics, extreme in ((self.best, "max"), (self.lowest, "min")):
                for metric in metrics:
                    summary = f"{extreme},last"
                    run.define_metric(metric, summary=summary, step_metric="trainer/global_step", step_sync=True)
            for counter in ("epoch", "trainer/global_step"):
                run.define_metric(counter, hidden=True)
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Store hyperparameters under dotted keys."""
        super().log_hyperparams(flatten(params if isinstance(params, Mapping) else vars(params)), *args, **kwargs)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics; the first ones tell that the run stays."""
        super().log_metrics(metrics, step)
        if not self._has_metrics:
            self._has_metrics = True
            if self._wandb_init["mode"] == "offline":
                rank_zero_info("W&B logs offline; send the run later with: wandb sync %s", _folder(self.experiment))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the run; of one that logged no metric and was to be sent later nothing stays."""
        super().finalize(status)
        run: Any = self.__dict__["_experiment"]
        if run is not None and self._wandb_init["mode"] == "offline" and not self._has_metrics:
            folder = _folder(run)
            run.finish(exit_code=1 if status == "failed" else 0)
            shutil.rmtree(folder, ignore_errors=True)
            _remove_if_no_run(folder.parent)
            self._experiment = None

    def _start(self) -> Any:
        make = WandbLogger.experiment.fget
        try:
            run = make(self)
        except (CommError, UsageError) as error:
            if self._wandb_init["mode"] == "offline":
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            rank_zero_warn(f"W&B cannot be reached, logging offline: {reason}")
            self._wandb_init["mode"] = "offline"
            run = make(self)
        if self._wandb_init["mode"] != "offline" and (url := getattr(run, "url", None)):
            rank_zero_info("W&B run: %s", url)
        return run


def _folder(run: Any) -> Path:
    """Return the folder of an offline run, which ``wandb sync`` takes."""
    return Path(run.dir).parent


def _remove_if_no_run(folder: Path) -> None:
    """Remove what W&B keeps beside runs, its own logs and links to the latest run, where there is no run."""
    if not any(path.is_dir() and not path.is_symlink() for path in folder.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)


def choose_mode() -> Mode:
    """Return ``WANDB_MODE`` if it is set, else online or offline by whether there are credentials.

    A wish to be online without credentials becomes offline with a warning, because W&B would ask for them.
    """
    wish = os.environ.get("WANDB_MODE", "").strip().lower()
    wish = _MODE_ALIASES.get(wish, wish)
    if wish in ("offline", "disabled"):
        return wish  # type: ignore[return-value]
    if has_credentials():
        return "shared" if wish == "shared" else "online"
    if wish:
        rank_zero_warn(f"WANDB_MODE is {wish} but there are no W&B credentials, logging offline; run: wandb login")
    return "offline"


def has_credentials() -> bool:
    """Whether W&B can log in without asking: by ``WANDB_API_KEY``, an identity token file, or the netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    candidates = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for path in (Path(candidate).expanduser() for candidate in candidates):
        try:
            if path.is_file() and netrc.netrc(path).authenticators(host) is not None:
                return True
        except (netrc.NetrcParseError, OSError) as error:
            rank_zero_warn(f"{path}: cannot be read, so W&B credentials are not taken from it: {error}")
    return False


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping with dotted keys; lists stay whole.

    Example:
        >>> flatten({"model": {"temperature": 4.0}, "seed": 1})
        {'model.temperature': 4.0, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def log_summary(loggers: Sequence[Logger], values: Mapping[str, Any], step: int) -> None:
    """Send final figures to every logger: to the summary of W&B, as one row of metrics elsewhere.

    Args:
        loggers: The trainer's loggers.
        values: Name to value; what is not a number is left out, since not every logger takes it.
        step: Optimizer step that the figures belong to.
    """
    numbers = {
        name: float(value) for name, value in values.items() if isinstance(value, Real) and not isinstance(value, bool)
    }
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            if rank_zero_only.rank == 0:
                logger.experiment.summary.update(numbers)
        else:
            logger.log_metrics(numbers, step)
