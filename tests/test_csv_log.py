"""metrics.csv over several processes of one run."""

from __future__ import annotations

import csv

import pytest

from distill.csv_log import CsvRun


def log(folder, step, **values) -> CsvRun:
    logger = CsvRun(folder, name="", version="run")
    logger.log_metrics(values, step)
    logger.save()
    return logger


def rows(folder) -> list[dict[str, str]]:
    with (folder / "run" / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_resumed_run_goes_on_with_the_file(tmp_path, recwarn):
    log(tmp_path, 1, a=1.0)
    log(tmp_path, 2, a=2.0)
    assert [(row["step"], row["a"]) for row in rows(tmp_path)] == [("1", "1.0"), ("2", "2.0")]
    assert not [warning for warning in recwarn if "deleted" in str(warning.message)]


def test_new_columns_keep_the_old_rows(tmp_path):
    log(tmp_path, 1, a=1.0)
    log(tmp_path, 2, b=2.0)
    assert rows(tmp_path) == [{"a": "1.0", "b": "", "step": "1"}, {"a": "", "b": "2.0", "step": "2"}]


@pytest.mark.parametrize("tail", ["2,2.", "2"])
def test_line_that_was_cut_short_is_dropped(tmp_path, tail):
    log(tmp_path, 1, a=1.0)
    path = tmp_path / "run" / "metrics.csv"
    path.write_text(path.read_text(encoding="utf-8") + tail, encoding="utf-8")
    log(tmp_path, 2, a=2.0)
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2"]
    assert [file.name for file in path.parent.iterdir()] == ["metrics.csv"]


def test_line_with_too_many_cells_is_dropped(tmp_path):
    log(tmp_path, 1, a=1.0)
    path = tmp_path / "run" / "metrics.csv"
    path.write_text(path.read_text(encoding="utf-8") + "2,2.0,3,4\n", encoding="utf-8")
    log(tmp_path, 3, b=3.0)
    assert rows(tmp_path) == [{"a": "1.0", "b": "", "step": "1"}, {"a": "", "b": "3.0", "step": "3"}]


def test_file_that_was_cut_in_its_header_begins_anew(tmp_path):
    log(tmp_path, 1, a=1.0)
    (tmp_path / "run" / "metrics.csv").write_text("a,st", encoding="utf-8")
    log(tmp_path, 2, a=2.0)
    assert rows(tmp_path) == [{"a": "2.0", "step": "2"}]


def test_runs_that_begin_at_once_get_a_folder_each(tmp_path):
    loggers = [CsvRun(tmp_path, name="runs") for _ in range(3)]
    assert [logger.version for logger in loggers] == [0, 1, 2]
    assert [logger.version for logger in loggers] == [0, 1, 2]
    assert CsvRun(tmp_path, name="runs", version=1).version == 1


def test_file_in_place_of_the_folder_is_an_error_and_no_endless_search(tmp_path):
    (tmp_path / "runs").write_text("", encoding="utf-8")
    with pytest.raises(FileExistsError):
        str(CsvRun(tmp_path, name="runs").version)
