"""``augment`` and ``cloze``: more questions to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from distill.augmentation.asking import Answers, OwnAnswers, TeacherAnswers, ask
from distill.augmentation.cloze import Cloze, NoisyCloze
from distill.augmentation.composed import composed
from distill.augmentation.masked_words import MaskedWords
from distill.augmentation.output import write_squad
from distill.augmentation.replacement import WordReplacement
from distill.augmentation.spread import SpreadParagraphs
from distill.files import Paths, first_in_both, listed_paths
from distill.models.loading import EMBEDDED
from distill.tasks.question_answering.reading import read_examples
from distill.text.language import LanguageCheck
from distill.text.reading import Separator
from distill.text.sources import FileSource
from distill.types import Example, UserError

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
    if seed < 0:
        raise UserError(f"--seed must be at least 0, not {seed}")
    target = _free(output, overwrite, listed_paths(input))
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
    teacher: str | None = EMBEDDED,
    noise: float = 0.0,
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
    """Write questions about plain text, gap-fill or noisy ones, with the teacher's answers or the text's own.

    "¿Qué año falta aquí: «Nació en _____ en Cádiz»?" asks for dates, years, other numbers and names of a sentence. The
    teacher's best span is the answer where its score is high enough; how often it is what was left out is reported.
    Without a teacher the answer is what was left out: with ``--noise 0.4``, questions of which a reader of plain text
    can be made before there is any question of people's. The files take turns, and paragraphs come from all over each;
    duplicates are left out. A long question is shortened to what the teacher reads.

    Args:
        input: Text files (.txt, .jsonl, also .gz and .zst), or folders of them.
        output: SQuAD v2.0 JSON to write.
        teacher: Folder or hub name of a question-answering model; ``embedded`` is the one that the package carries,
            ``null`` none.
        noise: Above 0 questions consist of a question word and words of the sentence, of which up to this share are
            left out and some change places; they ask for phrases of any kind too.
        num_questions: Questions to keep at most.
        per_paragraph: Questions about a paragraph at most.
        min_chars: Shortest paragraph in characters.
        max_chars: Longest paragraph in characters; longer ones are cut between sentences.
        min_score: Probability among the best spans that a teacher's answer must have.
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
    if not 0 <= noise <= 0.5:
        raise UserError(f"--noise must be a share of the words, 0 to 0.5, not {noise}")
    console = _console()
    files = listed_paths(input)
    target = _free(output, overwrite, files)
    source = FileSource(files, text_field, document_separator)
    texts = SpreadParagraphs(source, language, min_chars, max_chars, seed, num_held=2 * num_questions)
    answers: Answers = OwnAnswers() if teacher is None else TeacherAnswers(teacher, min_score, device)
    form = NoisyCloze(noise) if noise else Cloze()
    answered = answers(ask(texts, form, per_paragraph, answers.fits))
    num_asked = num_agreeing = num_kept = 0
    kept: dict[str, list[Example]] = {str(file): [] for file in source.files}
    for asked, answer in track(answered, "asking", total=None, console=console, disable=not progress_bar):
        num_asked += 1
        if answer is None:
            continue
        num_kept += 1
        num_agreeing += (answer.start_char, answer.start_char + len(answer.text)) == asked.fact.span
        tags = (f"cloze_{asked.fact.kind}",)
        example = Example(asked.identifier, asked.question, asked.paragraph.text, (answer,), tags)
        kept[str(asked.paragraph.file)].append(example)
        if num_kept == num_questions:
            break
    for line in [*texts.reading.describe(), texts.report.describe()]:
        console.print(line)
    if not num_kept:
        raise UserError(f"{', '.join(files)}: {_nothing_kept(num_asked, texts.report.kept)}")
    write_squad(target, {file: examples for file, examples in kept.items() if examples})
    for file, examples in kept.items():
        console.print(f"{file}: {len(examples):,} questions")
    agreement = f"the teacher found what was left out in {num_agreeing / num_kept:.0%} of them"
    console.print(
        f"{target}: {num_kept:,} questions kept of {num_asked:,}; "
        f"{'answered by what was left out' if teacher is None else agreement}"
    )


def _nothing_kept(num_asked: int, num_paragraphs: int) -> str:
    if num_asked:
        return f"no question kept of {num_asked:,}: lower --min_score"
    if num_paragraphs:
        return f"nothing to ask about in {num_paragraphs:,} paragraphs: give texts with dates, numbers or names"
    return "no paragraph of --min_chars to --max_chars characters: lower --min_chars or give other texts"


def _free(output: str, overwrite: bool, inputs: Sequence[str]) -> Path:
    target = Path(output)
    if target.exists() and first_in_both([target], [path for path in map(Path, inputs) if path.exists()]) is not None:
        raise UserError(f"--output {target} is also the input: name another file")
    if target.is_dir() or (target.exists() and not overwrite):
        raise UserError(f"--output {target}: there is something already: name another file or add --overwrite true")
    return target


def _console() -> Console:
    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
