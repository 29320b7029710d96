"""Sample predictions at the end of a run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from lightning.pytorch.loggers import WandbLogger

from distill.callbacks.report import Report
from distill.callbacks.samples import SamplePredictions
from distill.types import UserError

from .fakes import FakeModule, tiny_trainer


class TableLogger(WandbLogger):
    """Keeps tables instead of sending them."""

    def __init__(self, folder):
        super().__init__(save_dir=str(folder), offline=True)
        self.tables = {}

    @property
    def experiment(self):
        return SimpleNamespace(summary={}, config={}, log=lambda *_: None)

    def log_table(self, key, columns=None, data=None, **_):
        self.tables[key] = (columns, data)

    def log_metrics(self, metrics, step=None):
        pass


@pytest.mark.parametrize("with_teacher", [True, False])
def test_rows_are_written_and_logged_without_another_evaluation(tmp_path, with_teacher):
    module, logger = FakeModule(with_teacher), TableLogger(tmp_path)
    tiny_trainer(tmp_path, [Report(), SamplePredictions(num_samples=3)], logger=logger).fit(module)
    rows = json.loads((tmp_path / "samples.json").read_text(encoding="utf-8"))
    assert len(rows) == 3
    assert {(row["student"], row["reference"]) for row in rows} == {("Jaén", "Cádiz")}
    columns, data = logger.tables["samples"]
    assert ("teacher" in columns) is with_teacher
    assert data == [[row[name] for name in columns] for row in rows]
    assert module.evaluated == ["student", "teacher"][: 1 + with_teacher]


def test_a_trial_run_writes_nothing(tmp_path):
    tiny_trainer(tmp_path, [Report(), SamplePredictions()], fast_dev_run=True).fit(FakeModule())
    assert not (tmp_path / "samples.json").exists()


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (lambda: [SamplePredictions()], "needs a Report"),
        (lambda: [SamplePredictions(), Report()], "list Report before"),
    ],
)
def test_a_report_must_come_first(tmp_path, callbacks, message):
    with pytest.raises(UserError, match=message):
        tiny_trainer(tmp_path, callbacks()).fit(FakeModule())


def test_no_samples_is_refused():
    with pytest.raises(UserError, match="num_samples"):
        SamplePredictions(0)
