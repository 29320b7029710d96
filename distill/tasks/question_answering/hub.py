"""Questions from hub data sets in SQuAD columns, through the same validation as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import datasets

from distill.tasks.question_answering.reading import check_not_empty, read_file
from distill.tasks.question_answering.report import ReadingReport
from distill.tasks.question_answering.validation import QuestionValidator, require, require_text
from distill.tasks.rows import LOADING_ERRORS
from distill.types import Example, UserError

#: Branch on which the hub keeps data sets with loading scripts as parquet files, in folders of their configurations.
PARQUET_REVISION = "refs/convert/parquet"
#: Where the raw files of squad_es are, if its parquet conversion cannot be reached.
SQUAD_ES_ADDRESS = "https://raw.githubusercontent.com/ccasimiro88/TranslateAlignRetrieve/master"

_SQUAD_ES_NAMES = ("squad_es", "ccasimiro88/squad_es")
_SQUAD_ES_FILES = {
    (f"v{version}.0", split): f"SQuAD-es-v{version}/{prefix}-v{version}-es.json"
    for version in ("1.1", "2.0")
    for split, prefix in (("train", "train"), ("validation", "dev"))
}
_COLUMNS = {"id", "context", "question", "answers"}


def read_hub(
    name: str,
    config: str | None = None,
    split: str = "train",
    revision: str | None = None,
    strict: bool = False,
    require_answers: bool = True,
    squad_es_address: str = SQUAD_ES_ADDRESS,
) -> tuple[list[Example], ReadingReport]:
    """Read a split of a hub data set, or of a local folder of parquet files, with the columns of SQuAD.

    The columns are ``id``, ``context``, ``question``, ``answers`` (``text`` and ``answer_start`` lists, both empty for
    an impossible question) and, if there, ``title`` and ``tags``. ``squad_es`` (configurations ``v1.1.0`` and
    ``v2.0.0``) is read from its parquet conversion, else from its raw files.

    Args:
        name: Name on the hub, or a local folder.
        config: Configuration.
        split: Split.
        revision: Branch, tag or commit; on the parquet branch a configuration is a folder.
        strict: Whether an empty or misplaced answer is an error.
        require_answers: Whether questions must have an answer or be impossible; see ``read_examples``.
        squad_es_address: Base address of the raw files of squad_es.

    Raises:
        UserError: If the data cannot be reached, has other columns, or breaks the policy.
    """
    source = f"{name} {config or ''}".rstrip() + f" [{split}]"
    is_squad_es = name in _SQUAD_ES_NAMES
    if is_squad_es:
        config = config or "v1.1.0"
        if (config, split) not in _SQUAD_ES_FILES:
            known = ", ".join("/".join(key) for key in _SQUAD_ES_FILES)
            raise UserError(f"{source}: no such configuration and split: choose one of {known}")
        revision = revision or PARQUET_REVISION
    try:
        rows = _load_rows(name, config, split, revision)
    except LOADING_ERRORS as error:
        if not is_squad_es or config is None:
            raise UserError(
                f"{source}: cannot be loaded, no hub reachable or no such data ({_first_line(error)}): check the name, "
                "or use train_files, validation_files, test_files or predict_files"
            ) from error
        address = f"{squad_es_address}/{_SQUAD_ES_FILES[config, split]}"
        return _read_address(address, source, strict, require_answers)
    return _read_rows(rows, source, strict, require_answers)


def _load_rows(name: str, config: str | None, split: str, revision: str | None) -> datasets.Dataset:
    selection = {"data_dir": config} if revision == PARQUET_REVISION else {"name": config}
    return datasets.load_dataset(name, split=split, revision=revision, **selection)


def _read_address(
    address: str, source: str, strict: bool, require_answers: bool
) -> tuple[list[Example], ReadingReport]:
    """Read a SQuAD JSON file from the network; the library keeps the download."""
    try:
        path = datasets.DownloadManager().download(address)
    except LOADING_ERRORS as error:
        raise UserError(
            f"{source}: no hub reachable, nor {address} ({_first_line(error)}): use train_files, validation_files, "
            "test_files or predict_files"
        ) from error
    examples, report = read_file(Path(path), address, {}, strict, require_answers)
    check_not_empty(examples, address, report)
    return examples, report


def _read_rows(
    rows: datasets.Dataset, source: str, strict: bool, require_answers: bool
) -> tuple[list[Example], ReadingReport]:
    missing = _COLUMNS - set(rows.column_names)
    if missing:
        raise UserError(f"{source}: no column {', '.join(sorted(missing))}: is this in SQuAD columns?")
    validator = QuestionValidator(source, {}, strict, require_answers)
    examples = list(_examples(rows, source, validator))
    check_not_empty(examples, source, report := validator.report())
    return examples, report


def _examples(rows: Iterable[Any], source: str, validator: QuestionValidator) -> Iterable[Example]:
    titles: set[str] = set()
    contexts: set[str] = set()
    for row_index, row in enumerate(rows):
        where = f"{source}: row {row_index}"
        if row.get("title") is not None:
            title = require(row, "title", str, where)
            where = f"{source}: article {title!r}" if isinstance(row["id"], str) else where
            titles.add(title)
        context = require_text(row, "context", where)
        contexts.add(context)
        example = validator.validate(_as_file_question(row, where), context, where)
        if example is not None:
            yield example
    validator.counts.update(articles=len(titles), paragraphs=len(contexts))


def _as_file_question(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a row in the form that questions have in files."""
    answers = require(row, "answers", dict, where)
    texts, starts = require(answers, "text", list, where), require(answers, "answer_start", list, where)
    if len(texts) != len(starts):
        raise UserError(f"{where}: answers hold {len(texts)} texts but {len(starts)} starts: correct one of the two")
    question = {
        "id": row["id"],
        "question": row["question"],
        "answers": [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)],
        "is_impossible": not texts,
    }
    return question | ({"tags": row["tags"]} if row.get("tags") is not None else {})


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
