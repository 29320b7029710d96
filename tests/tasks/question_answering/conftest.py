"""Tokenizers of three families, trained on a few Spanish sentences, and batches made of windows."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from distill.tasks.question_answering.windows import build_windows
from distill.types import Batch, Example, Window

TEXTS = [
    "El río Ebro nace en Fontibre, cerca de Reinosa, y desemboca en el mar Mediterráneo tras 930 kilómetros.",
    "¿Dónde nace el río más caudaloso de España? ¿Quién escribió «El Quijote» en 1605? ¡Qué año!",
    "La niña comió pingüinos de azúcar; el cigüeñal, según Íñigo Peña, costó 1.234,50 € en Cádiz.",
    "Miguel de Cervantes Saavedra nació en Alcalá de Henares y murió en Madrid el 22 de abril de 1616.",
]


def _byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    # trim_offsets off: leading spaces stay in the offsets, as in some released tokenizers.
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False)
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
        **names,
    )


def _word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=150, special_tokens=specials, show_progress=False)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(vocab_size=150, special_tokens=specials, unk_token="<unk>", show_progress=False),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.fixture(scope="session")
def tokenizers():
    return {"byte_level": _byte_level(), "word_piece": _word_piece(), "unigram": _unigram()}


@pytest.fixture(params=["byte_level", "word_piece", "unigram"])
def family(request, tokenizers):
    """A tokenizer of each family in turn."""
    return tokenizers[request.param]


@pytest.fixture
def make_batch(tokenizers):
    """Return a function that cuts examples into windows and pads them into one batch."""

    def make(examples: list[Example], pad: str = "right", first_window: int = 0, **lengths) -> Batch:
        lengths = {"max_length": 48, "doc_stride": 8, "max_question_length": 16} | lengths
        columns = build_windows(examples, tokenizers["byte_level"], **lengths)
        rows = columns["input_ids"]
        width = max(map(len, rows)) + 3
        ids = np.ones((len(rows), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        shifts = [width - len(row) if pad == "left" else 0 for row in rows]
        for i, (row, shift) in enumerate(zip(rows, shifts, strict=True)):
            ids[i, shift : shift + len(row)] = row
            mask[i, shift : shift + len(row)] = 1
        windows = [
            Window(
                first_window + i,
                examples[columns["example_index"][i]],
                (columns["context_start"][i] + shift, columns["context_end"][i] + shift),
                list(zip(columns["offset_starts"][i], columns["offset_ends"][i], strict=True)),
            )
            for i, shift in enumerate(shifts)
        ]
        shift = torch.tensor(shifts)
        labels = {
            "start_positions": torch.tensor(columns["start_position"]) + shift,
            "end_positions": torch.tensor(columns["end_position"]) + shift,
        }
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        return Batch(inputs, labels, torch.arange(len(rows)) + first_window, windows)

    return make
