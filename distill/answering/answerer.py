"""The object that answers questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NotRequired, Self, TypedDict

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill.answering.backends import Backend, BackendName, TorchBackend, load_backend, resolve_device
from distill.answering.calibration import Calibration, fit_temperature, read_temperature
from distill.answering.inputs import Item, read_input
from distill.answering.passages import PASSAGE_CHARS, POOL_CHARS, Passage, passages, pools
from distill.answering.ranking import RankedAnswer, align_to_words, rank
from distill.answering.scoring import Scorer
from distill.answering.settings import AnswerSettings
from distill.metrics.normalize import normalize_mlqa
from distill.metrics.squad import NO_ANSWER, exact_match
from distill.models.loading import load_config, load_tokenizer, max_positions
from distill.tasks.question_answering.answers import ChosenAnswer
from distill.types import Example


class FoundAnswer(TypedDict):
    """An answer, in the form of the removed transformers pipeline: ``answer == context[start:end]``.

    Attributes:
        score: Its probability, from 0 to 1, among all candidates of the question.
        start: Its first character in the context as it was given.
        end: One past its last character.
        answer: The answer; "" (at 0, 0) says that the context holds none.
        context_index: Which context it is from; only there where a list of contexts was given.
    """

    score: float
    start: int
    end: int
    answer: str
    context_index: NotRequired[int]


class QuestionAnswerer:
    """Answers questions about texts of any length with a model that ``transformers`` or ``export`` wrote.

    Windows, decoding and choice are those of evaluation, so the answers are those of ``train.py predict`` at the same
    precision and settings. Windows of many questions are batched together by length; texts are read in bounded memory.
    One answerer may be called by several threads.

    A score is ``softmax(logits / temperature)`` over the question's ``n_best`` best spans and "no answer" (left out
    where ``no_answer_threshold`` is None), where a span's logit is start logit + end logit. With a temperature of 1 it
    is not calibrated: compare scores, do not read them as rates of success. :meth:`calibrate` fits the temperature.

    Example::

        answerer = QuestionAnswerer.from_pretrained("embedded")
        answerer("¿Dónde nació Ana Rúa?", "Ana Rúa nació en Jaén y murió en Ávila.")

    Args:
        backend: Computes the logits.
        tokenizer: The fast tokenizer of the model; not shared with other users in other threads.
        settings: How questions are read and answers chosen, unless a call says otherwise.
        num_positions: Tokens that the model can take.

    Raises:
        UserError: If the settings do not fit the model.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: PreTrainedTokenizerBase,
        settings: AnswerSettings,
        num_positions: int,
    ) -> None:
        settings.check(tokenizer, num_positions)
        self.settings = settings
        self.num_positions = num_positions
        self._scorer = Scorer(backend, tokenizer)

    @property
    def num_parameters(self) -> int | None:
        """Parameters of the model, None where that cannot be told."""
        return self._scorer.backend.num_parameters

    @classmethod
    def from_pretrained(
        cls,
        source: str,
        backend: BackendName = "torch",
        dtype: str | None = None,
        device: str | int = "auto",
        tokenizer: str | None = None,
        **options: Any,
    ) -> Self:
        """Load a model.

        Args:
            source: Folder, hub name, or ``embedded`` for the teacher that the package carries.
            backend: ``torch``, or ``onnx`` for a folder that ``export`` wrote.
            dtype: Precision; ``float32`` (default), ``bfloat16`` or ``float16`` with torch, ``float32`` or ``int8``
                with onnx.
            device: For torch: ``auto``, ``cpu``, ``cuda``, or the number of a GPU (-1 for the CPU).
            tokenizer: Where the tokenizer lies, if not beside the model.
            options: Any of :class:`~distill.answering.settings.AnswerSettings`, by our name or the pipeline's. Windows
                are at most as long as the model can take; the temperature is that of the model's ``calibration.json``
                where there is one.

        Raises:
            UserError: If the model cannot be loaded or an option is wrong.
        """
        source = str(source)
        fast_tokenizer = load_tokenizer(tokenizer if tokenizer is not None else source)
        num_positions = _num_positions(load_config(source), fast_tokenizer)
        settings = _settings(num_positions, {"temperature": read_temperature(source), **options})
        settings.check(fast_tokenizer, num_positions)  # before the weights are loaded
        return cls(load_backend(source, backend, dtype, device), fast_tokenizer, settings, num_positions)

    @classmethod
    def from_model(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        device: str | int | None = None,
        **options: Any,
    ) -> Self:
        """Take a loaded model, which is switched to eval mode and stays where it is unless a device is named.

        Args:
            model: A model with a question-answering head.
            tokenizer: Its fast tokenizer.
            device: As for :meth:`from_pretrained`.
            options: As for :meth:`from_pretrained`.

        Raises:
            UserError: If an option is wrong.
        """
        num_positions = _num_positions(model.config, tokenizer)
        backend = TorchBackend(model, model.device if device is None else resolve_device(device))
        return cls(backend, tokenizer, _settings(num_positions, options), num_positions)

    def __call__(self, question: Any, context: Any = None, **options: Any) -> Any:
        """Answer one question, a list of them, or a stream.

        Args:
            question: Text, a list of texts, or items with ``question`` and ``context``; see
                :func:`~distill.answering.inputs.read_input` for all forms.
            context: Text, or a list of texts.
            options: Any of :class:`~distill.answering.settings.AnswerSettings` for this call, such as ``top_k`` and
                ``no_answer_threshold``, or what the pipeline called them (``max_answer_len``, ``max_seq_len``,
                ``handle_impossible_answer``).

        Returns:
            A :class:`FoundAnswer` for one question, with ``top_k`` above 1 a list of them (fewer where there are fewer
            candidates), the best first. A list for a list; an iterator, which reads ahead by at most a quarter of a
            million characters, for any other iterable of items.

        Raises:
            UserError: If the input or an option is wrong.
        """
        items, form = read_input(question, context)
        settings = self._settings(options)
        answers = (_shown(item, ranked, settings) for item, ranked in self._ranked(items, settings))
        if form == "iterator":
            return answers
        return next(answers) if form == "one" else list(answers)

    def calibrate(self, examples: Iterable[Example], language: str = "es") -> Calibration:
        """Return the temperature with which the scores of answers fit how often they are right.

        It is fitted on examples with references that the model was not trained on, under the answerer's settings. Use
        it with ``temperature=...``, or :meth:`~distill.answering.calibration.Calibration.write` it beside the model.

        Args:
            examples: Questions with references; some of them must be answered right and some wrong.
            language: Language of the answers, whose articles exact match ignores.

        Raises:
            UserError: If all answers are right or all wrong, or there are none.
        """
        known = list(examples)
        items = (Item(example.question, (example.context,)) for example in known)
        ranked = [candidates for _, candidates in self._ranked(items, self.settings)]
        normalize = partial(normalize_mlqa, language=language)
        is_right = [
            bool(exact_match(candidates[0].text, [answer.text for answer in example.answers] or NO_ANSWER, normalize))
            for example, candidates in zip(known, ranked, strict=True)
        ]
        return fit_temperature([[candidate.logit for candidate in candidates] for candidates in ranked], is_right)

    def _settings(self, options: dict[str, Any]) -> AnswerSettings:
        settings = self.settings.updated(options)
        if settings is not self.settings:
            settings.check(self._scorer.tokenizer, self.num_positions)
        return settings

    def _ranked(self, items: Iterable[Item], settings: AnswerSettings) -> Iterator[tuple[Item, list[RankedAnswer]]]:
        """Yield every item with its candidates, in order."""
        found: list[tuple[Passage, ChosenAnswer]] = []
        for pool in pools(passages(items, PASSAGE_CHARS), POOL_CHARS):
            chosen = self._scorer([passage.example for passage in pool], settings)
            for passage, answer in zip(pool, chosen, strict=True):
                found.append((passage, answer))
                if passage.is_last:
                    ranked = rank(found, settings.no_answer_threshold, settings.n_best, settings.temperature)
                    yield passage.item, ranked
                    found = []


def _num_positions(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    return min(limit for limit in (max_positions(config), tokenizer.model_max_length) if limit)


def _settings(num_positions: int, options: Mapping[str, Any]) -> AnswerSettings:
    """Return the defaults, with windows that fit the model, and the options in their place."""
    fitting = AnswerSettings().updated({"max_length": min(AnswerSettings.max_length, num_positions)})
    return fitting.updated(options)


def _shown(item: Item, ranked: list[RankedAnswer], settings: AnswerSettings) -> FoundAnswer | list[FoundAnswer]:
    """Return the answers to one question in the form of the pipeline."""
    if settings.align_to_words:
        by_place: dict[tuple[int, int, int], RankedAnswer] = {}
        for answer in ranked:
            aligned = align_to_words(answer, item.contexts[answer.context_index])
            # Several spans may grow into the same words: the best of them stands for all.
            by_place.setdefault((aligned.context_index, aligned.start_char, aligned.end_char), aligned)
        ranked = list(by_place.values())
    shown = []
    for answer in ranked[: settings.top_k]:
        entry = FoundAnswer(score=answer.probability, start=answer.start_char, end=answer.end_char, answer=answer.text)
        if item.has_several:
            entry["context_index"] = answer.context_index
        shown.append(entry)
    return shown if settings.top_k > 1 else shown[0]
