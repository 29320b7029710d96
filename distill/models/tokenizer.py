"""Training a tokenizer: ``python -m distill.models.tokenizer --files train.json --output FOLDER``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing
from transformers import PreTrainedTokenizerFast

from distill.files import new_folder
from distill.tasks.question_answering.reading import read_examples
from distill.types import UserError

#: RoBERTa's special tokens, in the order of its ids.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def train_tokenizer(texts: Iterable[str], vocab_size: int, max_length: int = 512) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with RoBERTa's special tokens: ``<s> question </s></s> context </s>``.

    Args:
        texts: What to learn the pieces from; the same texts in the same order give the same tokenizer.
        vocab_size: Pieces, special tokens and the 256 bytes included.
        max_length: The length that models with this tokenizer can take, which is stored with it.

    Raises:
        UserError: If ``vocab_size`` leaves no room beside the bytes.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size <= smallest:
        raise UserError(f"vocab_size {vocab_size} must be more than the {smallest} bytes and special tokens")
    bpe = ByteLevelBPETokenizer(add_prefix_space=False)
    bpe.train_from_iterator(
        texts, vocab_size=vocab_size, min_frequency=2, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    backend = bpe._tokenizer
    ids = {token: backend.token_to_id(token) for token in SPECIAL_TOKENS}
    backend.post_processor = RobertaProcessing(("</s>", ids["</s>"]), ("<s>", ids["<s>"]), add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_length,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
    )


def train_from_files(files: list[str], output: str, vocab_size: int = 4000) -> None:
    """Train a tokenizer on the questions and contexts of SQuAD JSON files and write its folder.

    Args:
        files: SQuAD JSON files or folders of them.
        output: Folder to write; it must not exist yet.
        vocab_size: Pieces, special tokens and the 256 bytes included.
    """
    target = Path(output)
    if target.exists():
        raise UserError(f"{output} exists already; name another folder")
    examples, _ = read_examples(files)
    texts = dict.fromkeys(text for example in examples for text in (example.context, example.question))
    tokenizer = train_tokenizer(texts, vocab_size)
    with new_folder(target) as unfinished:
        tokenizer.save_pretrained(unfinished)


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(train_from_files, as_positional=False)
