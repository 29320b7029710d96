"""What the sources of the published recipes say, number for number, with everything else that these train with."""

from __future__ import annotations

from typing import Any

#: stevemobs/roberta-large-fine-tuned-squad-es, as its config.json has it (PlanTL-GOB-ES/roberta-large-bne fine-tuned).
LARGE = {
    "vocab_size": 50262,
    "num_hidden_layers": 24,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}

#: Of every recipe: our own defaults, which no source names. A loss or a stage has its own below.
OURS = {
    "model.class_path": "distill.DistillationModule",
    "model.student.dropout": None,  # the teacher's
    "model.student.vocabulary": "full",
    "model.task.class_path": "distill.QuestionAnswering",
    "model.task.language": "es",
    "model.task.n_best": 20,
    "model.task.max_answer_length": 30,
    "model.task.null_threshold": None,
    "model.optimizer.class_path": "torch.optim.AdamW",
    "model.optimizer.lr": 1e-3,  # the stages' take its place
    "model.optimizer.betas": [0.9, 0.999],
    "model.teacher_dtype": None,
    "model.extra_teachers": None,
    "model.teacher_cache.dtype": "float16",
    "model.teacher_cache.folder": None,
    "data.class_path": "distill.SquadDataModule",
    "data.dataset": "squad_es",
    "data.dataset_config": "v1.1.0",
    **{f"data.{part}_files": None for part in ("train", "validation", "test", "predict")},
    "data.max_length": 384,
    "data.doc_stride": 128,
    "data.max_question_length": 64,
    "data.max_tokens": None,
    "data.eval_batch_size": 64,
    "data.hide_questions": False,
    "data.strict": False,
    "data.num_workers": 0,
    "data.cache_dir": "~/.cache/distill",
    "trainer.gradient_clip_val": 1.0,
    "trainer.gradient_clip_algorithm": None,
    "trainer.accumulate_grad_batches": 1,
}


def loss(name: str, class_name: str, **options: Any) -> dict[str, Any]:
    path = f"model.losses.{name}"
    return {f"{path}.class_path": f"distill.losses.{class_name}", **{f"{path}.{k}": v for k, v in options.items()}}


def stage(name: str, weights: dict[str, float], **options: Any) -> dict[str, Any]:
    defaults = {
        "steps": None,
        "temperature": 1.0,
        "reset_optimizer": True,
        "data": None,
        "tasks": None,
        "balance": None,
    }
    terms = {f"weights.{term}": weight for term, weight in weights.items()}
    return {f"stages.{name}.{key}": value for key, value in {**defaults, **terms, **options}.items()}


#: Half of the layers of a base model.
HALF_BASE = {
    "model.student.num_layers": 6,
    "model.student.hidden_size": 768,
    "model.student.num_heads": 12,
    "model.student.intermediate_size": 3072,
}

#: AdrianBZG/tinyroberta-distillation-qa-es at 29bad11: configs/tinyroberta.json, configs/distillation1.json,
#: constants.py, and, where these say nothing, distillation.py and modeling.py.
SPANISH_TINYROBERTA = {
    **OURS,
    "seed_everything": 39812951,
    "model.teacher": "stevemobs/roberta-large-fine-tuned-squad-es",
    "model.student.num_layers": 6,
    "model.student.hidden_size": 512,
    "model.student.num_heads": 16,
    "model.student.intermediate_size": 3072,
    "model.student.init": "random",
    "model.layer_map.attention": [4 * i + 3 for i in range(6)],
    "model.layer_map.hidden": [4 * i for i in range(7)],
    **loss("attention", "AttentionLoss", target="probabilities", mask_padding=False, heads="equal"),
    # The map names the embedding output, state 0.
    **loss(
        "hidden", "HiddenStateLoss", projection="shared", normalise=False, include_embeddings=False, mask_padding=False
    ),
    **loss("logits", "LogitLoss", kind="kl", mask_padding=False),
    **loss("labels", "LabelLoss", mask_padding=False),
    "model.optimizer.eps": 1e-8,
    "model.optimizer.weight_decay": 0.01,
    "data.max_question_length": 251,  # theirs are not cut; with [CLS], two [SEP] and the stride this fills a window
    "data.batch_size": 32,
    "data.pad_to_max_length": True,
    "trainer.precision": "16-mixed",
    "stages": ["distillation"],
    # One of each, and two for the logits: the code adds the divergences of start and end, LogitLoss averages them.
    **stage(
        "distillation", {"attention": 1.0, "hidden": 1.0, "logits": 2.0, "labels": 1.0},
        epochs=100, temperature=1.0, learning_rate=3e-5, warmup=0.2, decay="linear",
    ),
}  # fmt: skip

#: huawei-noah/Pretrained-Language-Model, TinyBERT: README.md (two commands) and task_distill.py; arXiv 1909.10351,
#: section 4.1, for the student of 6 layers. Set, teacher and windows are ours: the code has no question answering.
TINYBERT = {
    **OURS,
    "seed_everything": 42,
    "model.teacher": "PlanTL-GOB-ES/roberta-base-bne-sqac",
    **HALF_BASE,
    "model.student.init": "random",
    "model.layer_map": "uniform",
    **loss("attention", "AttentionLoss", target="scores", mask_padding=False, heads="equal"),
    **loss(
        "hidden", "HiddenStateLoss", projection="shared", normalise=False, include_embeddings=True, mask_padding=False
    ),
    **loss("logits", "LogitLoss", kind="soft_cross_entropy", mask_padding=False),
    "model.optimizer.eps": 1e-6,
    "model.optimizer.weight_decay": 0.01,
    "data.batch_size": 32,
    "data.pad_to_max_length": True,
    "trainer.precision": "32-true",
    "stages": ["intermediate", "prediction"],
    **stage(
        "intermediate", {"attention": 1.0, "hidden": 1.0}, epochs=10, learning_rate=5e-5, warmup=0.0, decay="constant"
    ),
    **stage("prediction", {"logits": 1.0}, epochs=3, temperature=1.0, learning_rate=3e-5, warmup=0.1, decay="linear"),
}

#: huggingface/transformers, examples/research_projects/distillation: the defaults of run_squad_w_distillation.py, and
#: the layers of scripts/extract.py. Set and teacher are ours.
DISTILBERT_QA = {
    **OURS,
    "seed_everything": 42,
    "model.teacher": "PlanTL-GOB-ES/roberta-base-bne-sqac",
    **HALF_BASE,
    "model.student.init": "layers",
    "model.layer_map": [0, 2, 4, 7, 9, 11],
    **loss("logits", "LogitLoss", kind="kl", mask_padding=False),
    **loss("labels", "LabelLoss", mask_padding=False),
    "model.optimizer.eps": 1e-8,
    "model.optimizer.weight_decay": 0.0,
    "data.max_question_length": 64,
    "data.batch_size": 8,
    "data.pad_to_max_length": True,
    "trainer.precision": "32-true",
    "stages": ["distillation"],
    **stage(
        "distillation", {"logits": 0.5, "labels": 0.5},
        epochs=3, temperature=2.0, learning_rate=5e-5, warmup=0.0, decay="linear",
    ),
}  # fmt: skip

#: arXiv 2012.15828, section 4: relations, relation heads and layer for large teachers, rate and warm-up (4,000 of
#: 400,000 steps), decay and weight decay; sizes of the L6-H384 student. The lengths of both stages, the rate of the
#: second, the batch and the precision are ours.
MINILM = {
    **OURS,
    "seed_everything": 42,
    "model.teacher": "stevemobs/roberta-large-fine-tuned-squad-es",
    "model.student.num_layers": 6,
    "model.student.hidden_size": 384,
    "model.student.num_heads": 12,
    "model.student.intermediate_size": 1536,
    "model.student.init": "random",
    "model.layer_map": "uniform",  # not asked for: the loss names its layers
    **loss(
        "relations", "RelationLoss", relations=["query-query", "key-key", "value-value"], num_relation_heads=64,
        student_layer=5, teacher_layer=18, mask_padding=True,
    ),
    **loss("labels", "LabelLoss", mask_padding=True),
    "model.optimizer.eps": 1e-8,
    "model.optimizer.weight_decay": 0.01,
    "data.batch_size": 32,
    "data.pad_to_max_length": False,
    "trainer.precision": None,
    "stages": ["relations", "labels"],
    **stage("relations", {"relations": 1.0}, epochs=10, learning_rate=6e-4, warmup=0.01, decay="linear"),
    **stage("labels", {"labels": 1.0}, epochs=3, learning_rate=5e-5, warmup=0.1, decay="linear"),
}  # fmt: skip


def is_on(value: Any) -> bool:
    return value is not None and value is not False


#: What is unset or off is left out on both sides: an option that is new, and off, is no difference; one that is on is.
PUBLISHED = {
    name: {path: value for path, value in settings.items() if is_on(value)}
    for name, settings in {
        "spanish_tinyroberta": SPANISH_TINYROBERTA,
        "tinybert": TINYBERT,
        "distilbert_qa": DISTILBERT_QA,
        "minilm": MINILM,
    }.items()
}

#: The paper that a recipe repeats, and the numbers of the results that its opening expects, in their order.
RESULTS = {
    # arXiv 2312.04193, as summaries of it have its results: teacher's F1, EM, student's, times smaller, times faster.
    "spanish_tinyroberta": ("2312.04193", ["87.50", "78.30", "80.52", "71.23", "6.9", "4.2"]),
    # arXiv 1909.10351, table of SQuAD v1.1, 6 layers of 768: F1, EM, BERT-base's F1, EM.
    "tinybert": ("1909.10351", ["87.5", "79.7", "88.4", "80.7", "6", "768"]),
    # arXiv 1910.01108, DistilBERT with distillation on the task, SQuAD v1.1: F1, EM, BERT-base's F1, EM.
    "distilbert_qa": ("1910.01108", ["86.9", "79.1", "88.5", "81.2"]),
    # README.md of microsoft/unilm, minilm: SQuAD v2.0 F1 of the L6-H384 student of RoBERTa-large.
    "minilm": ("2012.15828", ["76.4"]),
}
