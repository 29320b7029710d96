"""A folder in which everything lies that a command may wrongly name."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, PreTrainedTokenizerFast, RobertaConfig, RobertaForQuestionAnswering

from distill.models.tokenizer import train_tokenizer


class Evil:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch owned",)


def fill(folder: Path, teacher: Path, backbone: Path) -> None:
    """Make files and folders of every wrong kind, from a teacher and a model without its head that are right."""
    (folder / "note.txt").write_text("Esto no es un modelo.\n", encoding="utf-8")
    for name in ("empty.ckpt", "empty.json", "empty.yaml"):
        (folder / name).touch()
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "uno.txt").write_text("Hola.", encoding="utf-8")
    _checkpoints(folder)
    shutil.copytree(teacher, folder / "teacher")
    shutil.copytree(backbone, folder / "backbone")
    _models(folder, teacher)


def _checkpoints(folder: Path) -> None:
    torch.save({"state_dict": {"other.weight": torch.zeros(3)}, "epoch": 0, "global_step": 0}, folder / "other.ckpt")
    made = {"pytorch-lightning_version": "2.6.6", "epoch": 0, "global_step": 0, "loops": {}, "callbacks": {}}
    weights = {"student.roberta.embeddings.word_embeddings.weight": torch.zeros(3, 3)}
    larger = {**made, "state_dict": weights, "optimizer_states": [], "lr_schedulers": []}
    torch.save(larger, folder / "larger.ckpt")
    torch.save(torch.zeros(3), folder / "tensor.ckpt")
    whole = (folder / "other.ckpt").read_bytes()
    (folder / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    (folder / "evil.ckpt").write_bytes(pickle.dumps(Evil()))


def _models(folder: Path, teacher: Path) -> None:
    def copy(name: str, *left_out: str) -> Path:
        return Path(shutil.copytree(teacher, folder / name, ignore=shutil.ignore_patterns(*left_out)))

    copy("untokenized", "tokenizer*")
    (copy("badly_tokenized") / "tokenizer.json").write_text("{}", encoding="utf-8")
    small: PreTrainedTokenizerFast = train_tokenizer(["uno dos tres"] * 9, vocab_size=270, max_length=128)
    config = RobertaConfig.from_pretrained(teacher)
    config.vocab_size = len(small) - 5
    RobertaForQuestionAnswering(config).save_pretrained(folder / "small_vocabulary")
    small.save_pretrained(folder / "small_vocabulary")
    GPT2Config(vocab_size=300, n_layer=4, n_embd=16, n_head=2).save_pretrained(copy("gpt", "config.json"))
    (copy("unknown_type") / "config.json").write_text('{"model_type": "inventado"}', encoding="utf-8")
    (copy("malformed_config") / "config.json").write_text('{"model_type": ', encoding="utf-8")
    raw = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    (copy("text_sizes") / "config.json").write_text(json.dumps({**raw, "hidden_size": "ancho"}), encoding="utf-8")
    copy("weightless", "*.safetensors")
    cut = copy("cut_weights") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:1000])
    (copy("other_weights") / "config.json").write_text(json.dumps({**raw, "intermediate_size": 64}), encoding="utf-8")
    (copy("evil_weights", "*.safetensors") / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    nan = copy("nan_weights") / "model.safetensors"
    save_file({name: tensor * torch.nan for name, tensor in load_file(nan).items()}, nan, {"format": "pt"})
