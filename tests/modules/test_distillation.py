import copy
import json
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Trainer
from transformers import AutoConfig, AutoTokenizer, RobertaForQuestionAnswering

from distill.callbacks.checkpoints import BestInFinalStage, LastCheckpoint
from distill.callbacks.stages import StageSchedule
from distill.data.datamodule import SquadDataModule
from distill.losses.attention import AttentionLoss
from distill.losses.logits import LabelLoss, LogitLoss
from distill.models.narrowing import inherit_projected
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.modules.scoring import evaluate_all
from distill.stages import Stage
from distill.teaching.teachers import ExtraTeacher, TeacherCache
from distill.types import UserError
from tests.conftest import squad_document

STUDENT = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, dropout=0.1)
STAGES = {
    "intermediate": Stage({"attention": 1.0, "hidden": 1.0, "embeddings": 1.0}, epochs=1, learning_rate=1e-3),
    "logits": Stage({"logits": 1.0, "labels": 0.5}, epochs=2, temperature=2.0, learning_rate=1e-3),
}


@pytest.fixture
def data(make_questions):
    return make_questions(batch_size=6)


def make_module(teacher_folder, **settings) -> DistillationModule:
    return DistillationModule(teacher=str(teacher_folder), student=STUDENT, **settings)


def fit(module, data, tmp_path, stages=STAGES, ckpt_path=None, **settings) -> Trainer:
    torch.manual_seed(3)
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        max_epochs=-1,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[StageSchedule(stages), BestInFinalStage(), LastCheckpoint()],
        **settings,
    )
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return trainer


def test_fit_runs_both_stages_and_leaves_the_teacher_bitwise_unchanged(data, teacher_folder, tmp_path):
    module = make_module(teacher_folder)
    before = RobertaForQuestionAnswering.from_pretrained(teacher_folder).state_dict()
    trainer = fit(module, data, tmp_path)
    assert trainer.global_step == module.active_stage.num_steps * 3 / 2
    assert module.active_stage.name == "logits"
    after = module.teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {"train/intermediate/attention", "train/logits/labels", "val/f1"} <= set(trainer.callback_metrics)


def test_teacher_stays_in_eval_mode_without_gradients_whatever_the_module_does(teacher_folder):
    module = make_module(teacher_folder)
    module.configure_model()
    module.train()
    module.requires_grad_(True)
    assert not module.teacher.training
    assert not any(parameter.requires_grad for parameter in module.teacher.parameters())
    assert all(parameter.requires_grad for parameter in module.student.parameters())


def test_checkpoint_holds_student_and_projections_alone(data, teacher_folder, tmp_path):
    module = make_module(teacher_folder)
    trainer = fit(module, data, tmp_path)
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert {name.split(".")[0] for name in checkpoint["state_dict"]} == {"student", "objective"}
    assert not any("teacher" in name for name in checkpoint["state_dict"])
    assert trainer.checkpoint_callbacks[0].best_model_path.endswith("best.ckpt")


def test_checkpoint_without_the_students_head_is_refused(data, teacher_folder, tmp_path):
    fit(make_module(teacher_folder), data, tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["state_dict"]["student.qa_outputs.weight"]
    torch.save(checkpoint, path)
    module = make_module(teacher_folder)
    with pytest.raises(UserError, match=r"qa_outputs\.weight"):
        fit(module, data, tmp_path, ckpt_path=path)
    with pytest.raises(RuntimeError, match=r"qa_outputs\.weight"):
        module.load_student_weights(path)


def test_best_checkpoint_is_chosen_within_the_final_stage(data, teacher_folder, tmp_path):
    fit(make_module(teacher_folder), data, tmp_path)
    assert torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["global_step"] > 3


@pytest.mark.parametrize("num_epochs", [1, 2])
def test_run_resumed_after_any_epoch_ends_as_the_uninterrupted_one(data, teacher_folder, tmp_path, num_epochs):
    def module():
        torch.manual_seed(5)
        return DistillationModule(teacher=str(teacher_folder), student=replace(STUDENT, dropout=0.0))

    whole, first, second = module(), module(), module()
    fit(whole, data, tmp_path / "whole")
    fit(first, data, tmp_path / "parts", max_steps=4 * num_epochs)
    assert first.active_stage.step < whole.active_stage.num_steps
    fit(second, data, tmp_path / "parts", ckpt_path=tmp_path / "parts" / "checkpoints" / "last.ckpt")
    assert second.active_stage == whole.active_stage
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_validation_after_fit_equals_the_runs_own(data, teacher_folder, tmp_path):
    module = make_module(teacher_folder)
    trainer = fit(module, data, tmp_path)
    logged = float(trainer.callback_metrics["val/f1"])
    (scores,) = trainer.validate(module, data, verbose=False)
    assert scores["val/f1"] == pytest.approx(logged)


def test_only_what_the_stage_needs_is_trained(data, teacher_folder, tmp_path):
    module = make_module(teacher_folder)
    module.configure_model()
    head = copy.deepcopy(module.student.qa_outputs.state_dict())
    fit(module, data, tmp_path, stages={"intermediate": STAGES["intermediate"]})
    assert all(torch.equal(head[name], tensor) for name, tensor in module.student.qa_outputs.state_dict().items())


def test_stage_of_labels_alone_never_runs_the_teacher(data, teacher_folder, tmp_path, monkeypatch):
    module = make_module(teacher_folder)
    module.configure_model()
    monkeypatch.setattr(module.teacher, "forward", lambda **_: pytest.fail("the teacher ran"))
    fit(module, data, tmp_path, stages={"labels": Stage({"labels": 1.0}, steps=2)})


def test_teacher_in_low_precision_teaches_a_full_precision_student(data, teacher_folder, tmp_path):
    module = make_module(teacher_folder, teacher_dtype="bfloat16")
    fit(module, data, tmp_path)
    assert module.teacher.dtype == torch.bfloat16
    assert module.student.dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "given", "held"),
    [
        ("32-true", None, torch.float32),
        ("bf16-mixed", None, torch.bfloat16),
        ("bf16-mixed", "float32", torch.float32),
        ("32-true", "float16", torch.float16),
    ],
)
def test_teachers_are_held_in_the_precision_of_the_run(precision, given, held, data, teacher_folder, tmp_path):
    extra = [ExtraTeacher(str(teacher_folder))]
    module = make_module(teacher_folder, teacher_dtype=given, extra_teachers=extra)
    stages = {"labels": Stage({"labels": 1.0}, steps=1)}
    fit(module, data, tmp_path, stages, precision=precision)
    assert [source.model.dtype for source in module._teachers._models] == [held, held]


def test_teacher_without_a_run_is_held_in_float32(teacher_folder):
    module = make_module(teacher_folder)
    module.configure_model()
    assert module.teacher.dtype == torch.float32


def test_logits_of_a_teacher_in_low_precision_are_stored_apart(data, teacher_folder, tmp_path):
    stages = {"logits": Stage({"logits": 1.0}, epochs=1, temperature=2.0)}
    for held in ("float32", None, "bfloat16"):
        cache = TeacherCache(folder=str(tmp_path / "store"))
        module = make_module(teacher_folder, teacher_dtype=held, teacher_cache=cache)
        fit(module, data, tmp_path, stages, precision="bf16-mixed")
        stored = len(list((tmp_path / "store").glob("logits-*.npy")))
        assert stored == (1 if held == "float32" else 2)  # what is left out and what says the same share theirs


def test_biases_and_norms_are_spared_weight_decay(teacher_folder):
    module = make_module(teacher_folder)
    module.configure_model()
    decayed, spared = module.configure_optimizers().param_groups
    assert {parameter.ndim for parameter in spared["params"]} == {1}
    assert spared["weight_decay"] == 0.0
    assert decayed["fused"]
    assert spared["fused"]
    assert len(decayed["params"]) + len(spared["params"]) == len(list(module.parameters()))


def test_check_names_what_does_not_fit(teacher_folder, tmp_path):
    with pytest.raises(UserError, match="128 positions"):
        make_module(teacher_folder).check(max_length=384)
    with pytest.raises(UserError, match=r"teacher layer|layer_map"):
        make_module(teacher_folder, layer_map=[0, 9]).check(max_length=64)
    with pytest.raises(UserError, match="nowhere"):
        DistillationModule(teacher=str(tmp_path / "nowhere"), student=STUDENT).check(max_length=64)


def test_check_refuses_a_student_with_another_tokenizer(teacher_folder, tmp_path, teacher_config):
    from distill.models.tokenizer import train_tokenizer

    other = tmp_path / "other"
    RobertaForQuestionAnswering(teacher_config).save_pretrained(other)
    train_tokenizer(["un texto distinto", "otro texto más"], vocab_size=270).save_pretrained(other)
    module = DistillationModule(teacher=str(teacher_folder), student=Student(init=str(other)))
    with pytest.raises(UserError, match="different tokenizers"):
        module.check(max_length=64)


def test_student_starts_from_a_folder(teacher_folder):
    module = DistillationModule(teacher=str(teacher_folder), student=Student(init=str(teacher_folder)))
    module.configure_model()
    teacher = module.teacher.state_dict()
    assert all(torch.equal(teacher[name], tensor) for name, tensor in module.student.state_dict().items())
    assert module.student.training


def test_different_head_counts_get_a_clear_error(teacher_folder):
    module = DistillationModule(teacher=str(teacher_folder), student=Student(num_layers=2, hidden_size=8, num_heads=4))
    with pytest.raises(UserError, match="heads"):
        module.check(max_length=64)


def test_student_heads_may_differ_where_no_attention_loss_is_used(teacher_folder):
    module = DistillationModule(
        teacher=str(teacher_folder),
        student=Student(num_layers=2, hidden_size=8, num_heads=4),
        losses={"logits": LogitLoss()},
    )
    module.check(max_length=64)
    module.configure_model()


@pytest.mark.parametrize(
    ("student", "tolerance"),
    [
        (Student(num_layers=4, dropout=0.0, init="layers"), 0.0),
        (Student(num_layers=4, dropout=0.0, init="inherited"), 1e-3),
        (Student(num_layers=4, dropout=0.0, init="layers", vocabulary="trimmed"), 0.0),
    ],
)
def test_student_that_inherits_everything_begins_as_the_teacher(data, teacher_folder, tmp_path, student, tolerance):
    module = DistillationModule(teacher=str(teacher_folder), student=student)
    stages = {"logits": Stage({"logits": 1.0}, steps=1, learning_rate=1e-12)}
    losses = []
    module.log_dict = lambda values, **_: losses.append(values)
    fit(module, data if student.vocabulary == "full" else trimmed(data, tmp_path), tmp_path, stages=stages)
    assert float(losses[0]["train/logits/logits"]) <= tolerance
    assert module.inheritance is not None
    assert module.inheritance.layers == (0, 1, 2, 3)


def trimmed(data, tmp_path) -> SquadDataModule:
    """Return the data with less training text and the pieces of that alone."""
    few = tmp_path / "few.json"
    few.write_text(json.dumps(squad_document(1)), encoding="utf-8")
    data.files["train"] = [str(few)]
    data.vocabulary = "trimmed"
    return data


def started(data, teacher_folder, tmp_path, student: Student, dtype: str) -> tuple[DistillationModule, dict]:
    """Return a module whose teacher is held in a precision, and the student's tensors before the first step."""
    module = DistillationModule(teacher=str(teacher_folder), student=student, layer_map=[0, 3], teacher_dtype=dtype)
    tensors = {}
    module.on_train_start = lambda: tensors.update(copy.deepcopy(module.student.state_dict()))
    torch.manual_seed(1)
    fit(module, data, tmp_path, stages={"labels": Stage({"labels": 1.0}, steps=1)})
    return module, tensors


def test_layers_are_inherited_bit_for_bit_by_teachers_in_low_precision(data, teacher_folder, tmp_path):
    student = Student(num_layers=2, init="layers")
    module, tensors = started(data, teacher_folder, tmp_path, student, "bfloat16")
    assert module.teacher.dtype == torch.bfloat16
    whole = RobertaForQuestionAnswering.from_pretrained(teacher_folder).state_dict()
    copied = {tensor.name: tensor.source for tensor in module.inheritance.tensors if tensor.origin == "copied"}
    assert {"qa_outputs.weight", "roberta.encoder.layer.1.attention.self.query.weight"} <= copied.keys()
    assert copied["roberta.encoder.layer.1.output.dense.bias"] == "roberta.encoder.layer.3.output.dense.bias"
    for name, source in copied.items():
        assert torch.equal(tensors[name], whole[source]), name


def test_narrow_student_starts_alike_whatever_the_teacher_is_held_in(data, teacher_folder, tmp_path):
    student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, init="inherited")
    _, expected = started(data, teacher_folder, tmp_path, student, "float32")
    _, tensors = started(data, teacher_folder, tmp_path, student, "bfloat16")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())


@pytest.mark.parametrize(("heads", "num_groups"), [("grouped", 2), ("mean", 1)])
def test_heads_are_inherited_from_the_groups_that_teach_them(
    data, teacher_folder, tmp_path, monkeypatch, heads, num_groups
):
    wide = tmp_path / "wide"
    config = AutoConfig.from_pretrained(teacher_folder)
    config.num_attention_heads = 4
    RobertaForQuestionAnswering(config).save_pretrained(wide)
    AutoTokenizer.from_pretrained(teacher_folder).save_pretrained(wide)
    groups = []

    def inherit(student, teacher, layers, batches, num_head_groups):
        groups.append(num_head_groups)
        return inherit_projected(student, teacher, layers, batches, num_head_groups)

    monkeypatch.setattr("distill.models.start.inherit_projected", inherit)
    student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, init="inherited")
    losses = {"attention": AttentionLoss(heads=heads), "labels": LabelLoss()}
    module = DistillationModule(teacher=str(wide), student=student, losses=losses)
    fit(module, data, tmp_path, stages={"attention": Stage({"attention": 1.0, "labels": 1.0}, steps=1)})
    assert groups == [num_groups]


def test_narrow_student_inherits_the_mapped_layers(data, teacher_folder, tmp_path):
    module = DistillationModule(
        teacher=str(teacher_folder),
        student=Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, init="inherited"),
        layer_map=[0, 3],
    )
    fit(module, data, tmp_path)
    assert module.inheritance.layers == (0, 3)
    assert module.starts_at_random  # an evaluation without a checkpoint has nothing to evaluate


def test_inheriting_without_data_says_what_is_missing(teacher_folder):
    module = DistillationModule(teacher=str(teacher_folder), student=replace(STUDENT, init="inherited"))
    with pytest.raises(UserError, match="give the Trainer a data module"):
        module.configure_model()


def test_similarity_maps_the_layers_and_is_resumed_with_them(data, teacher_folder, tmp_path, monkeypatch):
    module = make_module(teacher_folder, layer_map="similarity")
    fit(module, data, tmp_path, max_steps=2)
    layers = module.similarity.layers
    assert module.layer_map.attention == tuple(enumerate(layers))
    assert module.objective.terms["attention"]._pairs == module.layer_map.attention
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    fit(module, data, tmp_path)
    assert torch.load(checkpoint, weights_only=True)["layer_map"] == list(layers)

    # Another start would find other layers; the run goes on with its own.
    other = tuple(layer for layer in range(4) if layer not in layers)
    monkeypatch.setattr("distill.models.similarity.monotone_assignment", lambda _: other)
    resumed = make_module(teacher_folder, layer_map="similarity")
    fit(resumed, data, tmp_path, ckpt_path=checkpoint)
    assert resumed.layer_map.attention == tuple(enumerate(layers))
    assert resumed.objective.terms["attention"]._pairs == resumed.layer_map.attention


def test_pruned_map_is_what_the_teacher_keeps_and_the_student_inherits_it(data, teacher_folder, tmp_path):
    student = replace(STUDENT, init="inherited")
    module = DistillationModule(teacher=str(teacher_folder), student=student, layer_map="pruned")
    fit(module, data, tmp_path)
    layers = module.inheritance.layers
    assert module.layer_map.attention == tuple(enumerate(layers))
    assert module.objective.terms["hidden"]._pairs == module.layer_map.hidden
    assert len(module.teacher.roberta.encoder.layer) == 4
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["layer_map"] == list(layers)


def test_similarity_with_inherited_layers_is_refused(teacher_folder):
    with pytest.raises(UserError, match="choose another map or init"):
        DistillationModule(teacher=str(teacher_folder), student=Student(init="layers"), layer_map="similarity")


def test_trimmed_vocabulary_is_the_checkpoints_own(data, teacher_folder, tmp_path, squad_file):
    student = replace(STUDENT, init="inherited", vocabulary="trimmed")
    module = DistillationModule(teacher=str(teacher_folder), student=student)
    trainer = fit(module, trimmed(data, tmp_path), tmp_path)
    num_pieces = len(data.tokenizer)
    assert module.student.get_input_embeddings().num_embeddings == num_pieces
    assert module.teacher.get_input_embeddings().num_embeddings > num_pieces
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    # A module of its own, as the test command builds it, has the same pieces and scores.
    fresh = DistillationModule(teacher=str(teacher_folder), student=student)
    logged = float(trainer.callback_metrics["val/f1"])
    (scores,) = trainer.validate(fresh, data, ckpt_path=checkpoint, verbose=False)
    assert scores["val/f1"] == pytest.approx(logged)
    # Another vocabulary is noticed, although it has as many pieces.
    saved = torch.load(checkpoint, weights_only=True)
    saved["vocabulary"] = "other"
    torch.save(saved, checkpoint)
    with pytest.raises(UserError, match="checkpoint's vocabulary is not this run's"):
        trainer.validate(fresh, data, ckpt_path=checkpoint, verbose=False)


def test_teacher_is_scored_on_pieces_of_its_own(make_questions, teacher_folder, tmp_path):
    whole = make_questions(batch_size=4)
    module = make_module(teacher_folder)
    loaders = {}
    module.on_train_end = lambda: loaders.update({"scores": evaluate_all(module, module.data.val_dataloader()).teacher})
    fit(module, whole, tmp_path)
    expected = loaders["scores"]

    data = trimmed(make_questions(batch_size=4), tmp_path)
    module = DistillationModule(teacher=str(teacher_folder), student=replace(STUDENT, vocabulary="trimmed"))
    module.on_train_end = lambda: loaders.update(
        own=evaluate_all(module, module.data.val_dataloader()).teacher,
        students=module.evaluate(module.teacher, module.data.val_dataloader()),
    )
    fit(module, data, tmp_path)
    assert data.summary()["validation"]["words_recut"] > 0
    assert loaders["own"].predictions == expected.predictions
    assert loaders["own"].scores == expected.scores
    # Without them it reads, and answers, otherwise; and afterwards it takes the student's ids again.
    assert loaders["students"].predictions != expected.predictions


def test_student_from_a_folder_with_fewer_pieces_goes_on_with_them(data, teacher_folder, tmp_path):
    student = replace(STUDENT, vocabulary="trimmed")
    module = DistillationModule(teacher=str(teacher_folder), student=student)
    fit(module, trimmed(data, tmp_path), tmp_path)
    folder = tmp_path / "student"
    module.student.save_pretrained(folder)
    data.tokenizer.save_pretrained(folder)
    second = DistillationModule(teacher=str(teacher_folder), student=Student(init=str(folder)))
    second.check(max_length=64)
    again = SquadDataModule(
        tokenizer=str(folder), train_files=data.files["train"], validation_files=data.files["train"],
        max_length=64, doc_stride=8, max_question_length=24, cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    fit(second, again, tmp_path / "second")
    num_pieces = second.student.get_input_embeddings().num_embeddings
    assert num_pieces == len(again.tokenizer) < second.teacher.get_input_embeddings().num_embeddings
    # The teacher understands the student's ids: it answers as it does with its own.
    batch = next(iter(again.val_dataloader()))
    own = RobertaForQuestionAnswering.from_pretrained(teacher_folder).eval()
    full = AutoTokenizer.from_pretrained(teacher_folder)
    pieces = [again.tokenizer.convert_ids_to_tokens(row) for row in batch.inputs["input_ids"].tolist()]
    ids = torch.tensor([full.convert_tokens_to_ids(row) for row in pieces])
    with torch.no_grad():
        expected = own(input_ids=ids, attention_mask=batch.attention_mask).start_logits
        torch.testing.assert_close(second.teacher(**batch.inputs).start_logits, expected)
