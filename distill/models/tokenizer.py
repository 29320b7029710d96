"""Training a tokenizer: ``python -m distill.models.tokenizer --output FOLDER --files '[text.txt.zst]'``."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing
from transformers import PreTrainedTokenizerFast

from distill.entry import run_function
from distill.files import Paths, listed_paths, new_folder, write_json
from distill.tasks.question_answering.reading import read_examples
from distill.text.coverage import measure_coverage
from distill.text.duplicates import document_key
from distill.text.language import LanguageCheck
from distill.text.reading import Separator
from distill.text.report import TextReport
from distill.text.selection import DocumentFilter
from distill.text.sources import EmbeddedSource, FileSource, TextSource
from distill.types import UserError

#: RoBERTa's special tokens, in the order of its ids.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")

#: Counted, and dropped only where an option says so.
_SPANISH = LanguageCheck()


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


def train_from_files(
    output: str,
    files: Paths | None = None,
    vocab_size: int = 4000,
    max_length: int = 512,
    text_field: str = "text",
    document_separator: Separator = "blank_lines",
    held_out_every: int = 50,
    deduplicate: bool = True,
    language: LanguageCheck | None = _SPANISH,
) -> None:
    """Train a tokenizer on text files or on SQuAD JSON files, and write its folder with ``coverage.json``.

    Documents are streamed. One in ``held_out_every``, chosen by its hash, is left out of the training and used to
    measure tokens per word and the share of words in one piece; where none of a few documents is, the training text is
    measured. Of SQuAD files every question and context is learned from, and coverage is measured on the same. What
    reading repaired and dropped is told and stands in ``coverage.json``.

    Args:
        output: Folder to write; it must not exist yet.
        files: ``.txt`` or ``.jsonl`` files, also ``.gz`` or ``.zst``, or folders of them; or SQuAD ``.json`` files. The
            Spanish sample that the package writes itself when nothing is named.
        vocab_size: Pieces, special tokens and the 256 bytes included.
        max_length: The length that models with this tokenizer can take, which is stored with it.
        text_field: Name of the text in JSON lines.
        document_separator: What ends a document in plain text: ``blank_lines`` (two or more), ``line`` or ``file``.
        held_out_every: One document in this many is held out; 0 holds out none.
        deduplicate: Whether a document equal to an earlier one, but for case and white space, is dropped.
        language: What decides whether a document is in the language; counted, and dropped with ``drop: true``.

    Raises:
        UserError: If ``output`` exists, a file cannot be read, or no document is left to learn from.
    """
    target = Path(output)
    if target.exists():
        raise UserError(f"{output} exists already; name another folder")
    if held_out_every < 0 or held_out_every == 1:
        raise UserError(f"held_out_every must be 0 or at least 2, not {held_out_every}")
    paths = listed_paths(files)
    squad_files = [file for file in paths if Path(file).suffix.lower() == ".json"]
    if squad_files:
        if other := next((file for file in paths if file not in squad_files), None):
            raise UserError(f"{squad_files[0]} is read as SQuAD and {other} as text: name files of one kind")
        examples, reading = read_examples(squad_files)
        described, counted = reading.describe(), reading.as_dict()
        texts = list(dict.fromkeys(text for example in examples for text in (example.context, example.question)))
        tokenizer = train_tokenizer(texts, vocab_size, max_length)
        measured, coverage = "the training text", measure_coverage(texts, tokenizer)
    else:
        source = FileSource(paths, text_field, document_separator) if paths else EmbeddedSource()
        report = TextReport()
        shares = _Shares(source, held_out_every, deduplicate, language)
        tokenizer = train_tokenizer(shares.read(report, held_out=False), vocab_size, max_length)
        # The same documents are read again, so that their counts would be the same.
        is_held_out = held_out_every > 0 and shares.has_held_out()
        coverage = measure_coverage(shares.read(TextReport(), held_out=is_held_out), tokenizer)
        measured = f"1 in {held_out_every} documents, held out" if is_held_out else "the training text"
        described, counted = report.describe(), report.as_dict()
    with new_folder(target) as unfinished:
        tokenizer.save_pretrained(unfinished)
        write_json(unfinished / "coverage.json", {"measured_on": measured, **asdict(coverage), "reading": counted})
    sys.stderr.writelines(f"{line}\n" for line in described)
    sys.stdout.write(f"{output}: {len(tokenizer):,} pieces; {coverage.describe()}, {measured}\n")


@dataclass(frozen=True)
class _Shares:
    """The documents of a source that are held out, and those that are not."""

    source: TextSource
    every: int
    deduplicate: bool
    language: LanguageCheck | None

    def has_held_out(self) -> bool:
        """Whether any document is held out; of a few none may be."""
        return next(self._read(TextReport(), held_out=True), None) is not None

    def read(self, report: TextReport, held_out: bool) -> Iterator[str]:
        """Yield one share, composed (NFC) as models see it; all documents are counted.

        Raises:
            UserError: If there is none.
        """
        is_empty = True
        for text in self._read(report, held_out):
            yield text
            is_empty = False
        if is_empty:
            raise UserError(f"{self.source.name}: no document is left to learn from: raise held_out_every")

    def _read(self, report: TextReport, held_out: bool) -> Iterator[str]:
        keep = DocumentFilter(report, self.deduplicate, self.language)
        for text in keep(self.source.documents(report)):
            if (self.every > 0 and document_key(text) % self.every == 0) == held_out:
                yield unicodedata.normalize("NFC", text)


if __name__ == "__main__":
    run_function(train_from_files)
