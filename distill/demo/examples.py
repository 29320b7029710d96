"""Questions to begin with: from the embedded dev set, each about another subject."""

from __future__ import annotations

import json
from importlib import resources


def embedded_examples(num_examples: int = 6) -> list[dict[str, str]]:
    """Return questions as plain data, ``question`` and ``context``; the last one has no answer in its text.

    Each is the first of its kind in its article, whatever the models make of it.
    """
    text = (resources.files("distill.assets") / "qa_es" / "dev.json").read_text(encoding="utf-8")
    examples = []
    for index, article in enumerate(json.loads(text)["data"][:num_examples]):
        is_impossible = index == num_examples - 1
        found = (
            {"question": question["question"], "context": paragraph["context"]}
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
            if question["is_impossible"] == is_impossible
        )
        examples.append(next(found))
    return examples
