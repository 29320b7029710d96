import json

import numpy as np
import pytest

from distill.answering.calibration import (
    Calibration,
    answer_probabilities,
    calibration_error,
    fit_temperature,
    read_temperature,
)
from distill.types import UserError


def drawn(temperature, num_questions=2000, seed=0):
    """Logits whose answers are right exactly as often as a softmax at this temperature says."""
    generator = np.random.default_rng(seed)
    logits = -np.sort(-generator.normal(0, 4, (num_questions, 5)), axis=1)
    right = generator.random(num_questions) < answer_probabilities(logits.tolist(), temperature)
    return logits.tolist(), right.tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_behind_the_answers_is_found(temperature):
    calibration = fit_temperature(*drawn(temperature))
    assert calibration.temperature == pytest.approx(temperature, rel=0.15)
    assert calibration.error_after < 0.04
    assert calibration.num_questions == 2000


def test_overconfidence_is_mended_on_questions_it_was_not_fitted_on():
    calibration = fit_temperature(*drawn(3.0, seed=1))
    logits, right = drawn(3.0, seed=2)
    before, after = (
        calibration_error(answer_probabilities(logits, temperature), right)
        for temperature in (1.0, calibration.temperature)
    )
    assert before > 0.1
    assert after < 0.04


def test_probabilities_are_those_of_a_softmax_of_uneven_candidates():
    found = answer_probabilities([[2.0, 0.0], [0.0], [0.0, 3.0, 1.0]], temperature=2.0)
    e = np.exp
    assert found.tolist() == pytest.approx([e(1) / (e(1) + 1), 1.0, 1 / (1 + e(1.5) + e(0.5))])


def test_probabilities_of_far_apart_logits_do_not_overflow():
    assert answer_probabilities([[-1e5, 1e5]], temperature=0.05).tolist() == [0.0]


def test_error_is_the_mean_gap_between_confidence_and_success():
    assert calibration_error([0.75] * 20, [True] * 10 + [False] * 10) == pytest.approx(0.5)  # bins of two
    assert calibration_error([1.0] * 10, [True] * 10) == 0.0
    assert calibration_error([0.2, 0.9], [False, True]) == pytest.approx(0.15)
    assert calibration_error([], []) == 0.0


@pytest.mark.parametrize("is_right", [[True, True], [False], []])
def test_answers_that_are_all_alike_fit_no_temperature(is_right):
    with pytest.raises(UserError, match=f"of {len(is_right)} answers are right"):
        fit_temperature([[1.0, 0.0]] * len(is_right), is_right)


def test_written_temperature_is_read_again(tmp_path):
    assert read_temperature(str(tmp_path)) == 1.0
    Calibration(1.5, 100, 0.8, 0.1, 0.02).write(tmp_path)
    assert read_temperature(str(tmp_path)) == 1.5
    assert json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))["num_questions"] == 100


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "calibration.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"calibration\.json: holds no temperature"):
        read_temperature(str(tmp_path))


def test_a_model_elsewhere_without_one_has_none(monkeypatch):
    def absent(*_):
        raise OSError("offline")

    monkeypatch.setattr("distill.answering.calibration.hf_hub_download", absent)
    assert read_temperature("my-org/my-model") == 1.0


def test_the_embedded_teacher_is_calibrated_on_questions_it_was_not_trained_on(teacher, dev_sample):
    calibration = teacher.calibrate(dev_sample)
    assert calibration.num_questions == len(dev_sample)
    assert 0.5 < calibration.accuracy < 1
    assert calibration.error_after <= calibration.error_before + 0.02
