"""``augment`` and ``cloze``: more questions to learn layers from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from distill.answering.answerer import QuestionAnswerer
from distill.augmentation.cloze import Cloze, Fact
from distill.augmentation.composed import composed
from distill.augmentation.masked_words import MaskedWords
from distill.augmentation.output import write_squad
from distill.augmentation.replacement import WordReplacement
from distill.augmentation.spread import Paragraph, SpreadParagraphs
from distill.files import Paths, listed_paths
from distill.models.loading import EMBEDDED, load_tokenizer
from distill.tasks.question_answering.reading import read_examples
from distill.text.language import LanguageCheck
from distill.text.reading import Separator
from distill.text.sources import FileSource
from distill.types import Answer, Example, UserError

#: The questions are in Spanish, so what is not is dropped.
_SPANISH_ALONE = LanguageCheck(drop=True)


def augment(
    model: str,
    input: Paths,  # noqa: A002 - the option is called --input
    output: str,
    probability: float = 0.4,
    num_candidates: int = 15,
    num_copies: int = 2,
    batch_size: int = 16,
    device: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
    progress_bar: bool = True,
) -> None:
    """Write copies of SQuAD questions in whose contexts a masked-language model has replaced words.

    Answers stay where they belong, character by character. The words that questions and answers name, and all numbers,
    are left alone. Use the output in the stage that learns layers, and the original data in the last one.

    Args:
        model: Folder or hub name of a masked-language model, such as a run's of configs/pretrain.yaml.
        input: SQuAD v1.1 or v2.0 JSON files, or folders of them.
        output: SQuAD v2.0 JSON to write; ids end in the number of the copy.
        probability: Share of the replaceable words of a copy that are replaced.
        num_candidates: How many of the likeliest words to draw from.
        num_copies: Copies of each paragraph.
        batch_size: Texts that the model computes at once.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
        seed: Decides what is replaced by what.
        overwrite: Whether an older output gives way.
        progress_bar: Whether to show one.

    Raises:
        UserError: If a file, the model or a setting is wrong.
    """
    console = _console()
    target = _free(output, overwrite)
    replacement = WordReplacement(probability, num_candidates, num_copies)
    examples, report = read_examples(listed_paths(input))
    for line in report.describe():
        console.print(line)
    masked_words = MaskedWords.from_pretrained(model, batch_size, device)
    contexts = [list(group) for _, group in groupby(examples, key=lambda example: example.context)]
    made: list[Example] = []
    num_left_out = 0
    for number, group in enumerate(track(contexts, "augmenting", console=console, disable=not progress_bar)):
        if (questions := composed(group)) is None:
            num_left_out += 1
        else:
            made += replacement(questions, masked_words, np.random.default_rng((seed, number)))
    if num_left_out:
        console.print(
            f"left out {num_left_out:,} contexts in which an answer ends or begins between a letter and its accent"
        )
    if not made:
        raise UserError(f"{', '.join(listed_paths(input))}: no context is left")
    write_squad(target, {"augmented": made})
    console.print(f"{target}: {len(made):,} questions about {num_copies * (len(contexts) - num_left_out):,} contexts")


def cloze(
    input: Paths,  # noqa: A002 - the option is called --input
    output: str,
    teacher: str = EMBEDDED,
    num_questions: int = 1000,
    per_paragraph: int = 2,
    min_chars: int = 200,
    max_chars: int = 1200,
    min_score: float = 0.5,
    text_field: str = "text",
    document_separator: Separator = "blank_lines",
    language: LanguageCheck | None = _SPANISH_ALONE,
    device: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
    progress_bar: bool = True,
) -> None:
    """Write gap-fill questions about plain text, with the answers that the teacher gives.

    "¿Qué año falta aquí: «Nació en _____ en Cádiz»?" asks for dates, years, other numbers and names of a sentence. The
    teacher's best span is the answer where its score is high enough; how often it is what was left out is reported.
    The files take turns, and paragraphs come from all over each; duplicates are left out. A long sentence is shown as
    far around its gap as the teacher reads in a question.

    Args:
        input: Text files (.txt, .jsonl, also .gz and .zst), or folders of them.
        output: SQuAD v2.0 JSON to write.
        teacher: Folder or hub name of a question-answering model; ``embedded`` is the one that the package carries.
        num_questions: Questions to keep at most.
        per_paragraph: Questions about a paragraph at most.
        min_chars: Shortest paragraph in characters.
        max_chars: Longest paragraph in characters; longer ones are cut between sentences.
        min_score: Probability among the best spans that an answer must have.
        text_field: Name of the text in JSON lines.
        document_separator: What ends a document in plain text: ``blank_lines`` (two or more), ``line`` or ``file``.
        language: What decides whether a document is in the language; others are dropped unless ``drop`` is false.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
        seed: Decides which paragraphs and facts are asked about.
        overwrite: Whether an older output gives way.
        progress_bar: Whether to show one.

    Raises:
        UserError: If a file, the model or a setting is wrong, or no question was kept.
    """
    if min(num_questions, per_paragraph, min_chars) < 1 or max_chars < min_chars:
        raise UserError("--num_questions, --per_paragraph and --min_chars must be at least 1, --max_chars no smaller")
    if not 0 <= min_score <= 1:
        raise UserError(f"--min_score must be a probability, not {min_score}")
    console = _console()
    target = _free(output, overwrite)
    files = listed_paths(input)
    source = FileSource(files, text_field, document_separator)
    texts = SpreadParagraphs(source, language, min_chars, max_chars, seed, num_held=2 * num_questions)
    answerer = QuestionAnswerer.from_pretrained(teacher, device=device, no_answer_threshold=None)
    tokenizer = load_tokenizer(teacher)

    def fits(question: str) -> bool:
        num_tokens = len(tokenizer.encode(question, add_special_tokens=False, verbose=False))
        return num_tokens <= answerer.settings.max_question_length

    # The answerer reads ahead: only the questions on their way are held.
    waiting: deque[tuple[Paragraph, str, Fact]] = deque()

    def asked() -> Iterator[dict[str, str]]:
        for paragraph, question, fact in _facts(texts, per_paragraph, fits):
            waiting.append((paragraph, question, fact))
            yield {"question": question, "context": paragraph.text}

    num_asked = num_agreeing = num_kept = 0
    kept: dict[str, list[Example]] = {str(file): [] for file in source.files}
    answers: Any = answerer(asked())
    for found in track(answers, "asking", total=None, console=console, disable=not progress_bar):
        paragraph, question, fact = waiting.popleft()
        num_asked += 1
        if found["score"] < min_score or not found["answer"]:
            continue
        num_kept += 1
        num_agreeing += (found["start"], found["end"]) == fact.span
        answer = Answer(found["answer"], found["start"])
        tags = (f"cloze_{fact.kind}",)
        kept[str(paragraph.file)].append(Example(f"cloze-{num_asked}", question, paragraph.text, (answer,), tags))
        if num_kept == num_questions:
            break
    for line in [*texts.reading.describe(), texts.report.describe()]:
        console.print(line)
    if not num_kept:
        raise UserError(f"{', '.join(files)}: no question kept of {num_asked:,}: lower --min_score or --min_chars")
    write_squad(target, {file: examples for file, examples in kept.items() if examples})
    for file, examples in kept.items():
        console.print(f"{file}: {len(examples):,} questions")
    console.print(
        f"{target}: {num_kept:,} questions kept of {num_asked:,}; the teacher found what was left out in "
        f"{num_agreeing / num_kept:.0%} of them"
    )


def _facts(
    texts: Iterable[Paragraph], per_paragraph: int, fits: Callable[[str], bool]
) -> Iterator[tuple[Paragraph, str, Fact]]:
    form = Cloze()
    for paragraph in texts:
        facts = list(form.facts(paragraph.text))
        chosen = np.random.default_rng(paragraph.key).permutation(len(facts))[:per_paragraph]
        for index in sorted(chosen):
            yield paragraph, form.question(paragraph.text, facts[index], fits), facts[index]


def _free(output: str, overwrite: bool) -> Path:
    target = Path(output)
    if target.is_dir() or (target.exists() and not overwrite):
        raise UserError(f"--output {target}: there is something already: name another file or add --overwrite true")
    return target


def _console() -> Console:
    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
