"""Lightning's Trainer with one command more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning as L
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from rich.console import Console
from transformers import PreTrainedModel

from distill.callbacks.benchmark import LatencyBenchmark
from distill.callbacks.report import find_callback
from distill.checkpoints import load_checkpoint
from distill.data.base import TaskDataModule
from distill.data.datamodule import SquadDataModule
from distill.export.card import build_card
from distill.export.exporter import export_student
from distill.export.formats import FormatName, chosen_formats
from distill.export.graph import import_onnx
from distill.export.hub import check_repository, push_folder
from distill.export.provenance import find_provenance
from distill.export.table import export_table
from distill.files import new_folder, write_json, write_text
from distill.models.loading import check_length, check_vocabulary, load_model, load_tokenizer, max_positions
from distill.modules.base import TaskModule
from distill.reporting.page.document import write_page
from distill.reporting.run import EXPORT_REPORT
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError

#: The file that makes a folder an export: only such a folder may be replaced by another one.
EXPORT_FILE = "export.json"


class ExportTrainer(L.Trainer):
    """Lightning's Trainer, which can also export.

    Exports are made and checked on the CPU, on the first process, whatever devices are configured.
    """

    #: The resolved configuration of the running command, YAML, for the model card; the command line sets it.
    resolved_config: str | None = None

    def export(
        self,
        model: TaskModule,
        datamodule: TaskDataModule,
        output: str,
        ckpt_path: str | None = None,
        student: str | None = None,
        formats: Sequence[FormatName] = ("onnx", "int8"),
        overwrite: bool = False,
        license: str | None = None,  # noqa: A002 - Hugging Face's own name
        push_to_hub: str | None = None,
        private: bool = True,
        weights_only: bool | None = None,
    ) -> None:
        """Write the student for production, each format checked on the validation part, with a model card.

        Args:
            model: The module whose student is exported.
            datamodule: Gives the tokenizer and the validation part.
            output: Folder to write; it appears when everything in it is written and checked. As ``export`` inside the
                folder of a run it is shown on the run's page, which is drawn again.
            ckpt_path: Checkpoint of a run to take the student's weights from.
            student: Folder to take the student and its tokenizer from instead, such as ``student/`` of a run.
            formats: What to write beside the float32 weights for transformers: onnx, int8, bf16.
            overwrite: Whether an earlier export in ``output`` is replaced.
            license: The student's licence by its Hugging Face name, such as cc-by-4.0.
            push_to_hub: Also upload the folder to this model repository, owner/name.
            private: Whether that repository is private.
            weights_only: Without effect; there because the config.yaml of a run holds it.

        Raises:
            UserError: If something is missing or does not fit, before any work wherever it can be known.
        """
        if not self.is_global_zero:
            return
        if not isinstance(model, TaskModule):
            raise UserError(
                "export: ONNX and INT8 are made of question answering alone: of several tasks name the questions' "
                "folder and a configuration of that task, --student RUN/student/qa --config configs/distill.yaml; "
                "those of other tasks load with transformers as they are"
            )
        task = model.task
        if not isinstance(task, QuestionAnswering) or not isinstance(datamodule, SquadDataModule):
            raise UserError(
                f"export: ONNX and INT8 are made of question answering alone, not of the task {task.name!r} on "
                f"{type(datamodule).__name__}; the run's student/ loads with transformers as it is"
            )
        target, names = Path(output), chosen_formats(formats)
        _check_source(model, ckpt_path, student)
        _check_target(target, overwrite)
        if "onnx" in names:
            import_onnx()
        if push_to_hub is not None:
            check_repository(push_to_hub)
        if student is not None:
            # Its own, which may have fewer pieces than the teacher's.
            datamodule.tokenizer, datamodule.vocabulary = load_tokenizer(student), "full"
            datamodule.check()
        datamodule.setup("validate")
        weights = self._load_student(model, datamodule, ckpt_path, student)
        check_length(datamodule.max_length, weights.config, "student")
        check_vocabulary(datamodule.tokenizer, weights.config, "student")
        benchmark = self._benchmark(weights)
        source = ckpt_path or student
        provenance = find_provenance(Path(source) if source else None, self.resolved_config, license)
        with new_folder(target, replace=overwrite) as unfinished:
            evaluation_set = datamodule.val_dataloader()
            result = export_student(weights, datamodule.tokenizer, task, evaluation_set, benchmark, unfinished, names)
            result["data"] = {**datamodule.summary(), "max_question_length": datamodule.max_question_length}
            write_json(unfinished / EXPORT_FILE, result)
            name = (push_to_hub or target.resolve().name).rpartition("/")[2]
            write_text(unfinished / "README.md", build_card(result, provenance, name, push_to_hub or "."))
        Console().print(export_table(result))
        rank_zero_info("wrote %s", target)
        _draw_page(target.resolve().parent, target)
        if push_to_hub is not None:
            rank_zero_info("uploaded to %s", push_folder(target, push_to_hub, private))

    def _load_student(
        self, model: TaskModule, datamodule: SquadDataModule, ckpt_path: str | None, student: str | None
    ) -> PreTrainedModel:
        if student is not None:
            weights, missing = load_model(model.task, student, "student")
            if missing:
                raise UserError(f"--student {student}: it has no weights for {', '.join(missing[:3])}")
            return weights
        # A module whose trainer is not fitting loads no teacher; a trimmed vocabulary is that of the trainer's data.
        model.trainer, self.datamodule = self, datamodule
        model.configure_model()
        if ckpt_path is not None:
            try:
                model.on_load_checkpoint(load_checkpoint(Path(ckpt_path)))
                model.load_student_weights(ckpt_path)
            except (KeyError, RuntimeError) as error:
                raise UserError(
                    f"--ckpt_path {ckpt_path}: it holds no weights of the configured student; name a run's checkpoint "
                    "and the configuration of the same run"
                ) from error
        return model.student

    def _benchmark(self, student: PreTrainedModel) -> LatencyBenchmark:
        """Return the configured benchmark, or the default one, after a look at what the student can take."""
        benchmark = find_callback(self, LatencyBenchmark) or LatencyBenchmark()
        limit = max_positions(student.config)
        if limit is not None and max(benchmark.lengths, default=0) > limit:
            raise UserError(f"benchmark.lengths: {max(benchmark.lengths)} is more than the student's {limit} positions")
        return benchmark


def _draw_page(run: Path, target: Path) -> None:
    """Draw the page of a run again if the export is the one that it shows."""
    if (run / EXPORT_REPORT).parent != target.resolve() or not (run / "report.json").is_file():
        return
    try:
        rank_zero_info("wrote %s", write_page(run))
    except UserError as error:  # the export is whole
        rank_zero_warn(f"the page of the run is as it was: {error}")


def _check_source(model: TaskModule, ckpt_path: str | None, student: str | None) -> None:
    """Check that there are weights, and one place alone that they come from."""
    if ckpt_path is not None and student is not None:
        raise UserError("export: name either --ckpt_path or --student, not both")
    if ckpt_path is None and student is None and model.starts_at_random:
        raise UserError("export: the student's weights are random; name a run's with --ckpt_path or --student")
    if ckpt_path is not None and not Path(ckpt_path).is_file():
        raise UserError(f"--ckpt_path {ckpt_path}: there is no such file")


def _check_target(target: Path, overwrite: bool) -> None:
    """Check that the folder is free, or holds an export that is to give way; nothing else is ever replaced."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / EXPORT_FILE).is_file():
        raise UserError(f"--output {target}: it exists and is no earlier export; name another folder")
    if not overwrite:
        raise UserError(f"--output {target}: it holds an export already; add --overwrite true to replace it")
