"""Writing the sample: documents of several generated paragraphs, the same on every run."""

from __future__ import annotations

import random
from collections.abc import Iterator

from distill.assets.qa_es.content import load_domains
from distill.assets.qa_es.lexicon import load_lexicon
from distill.assets.qa_es.paragraphs import write_paragraph

#: Raised whenever the sample changes, so that older caches are not read.
GENERATOR_VERSION = 1

NUM_DOCUMENTS = 1000
_PARAGRAPHS = (2, 4)


def sample_documents() -> Iterator[str]:
    """Yield the documents of the sample: two to four paragraphs each on one kind of entity, about a megabyte in all.

    Every document has its own random state, seeded with its number. The names come from the train part of the
    question set; none of its dev part occurs.
    """
    domains, lexicon = load_domains(), load_lexicon("train")
    lexicons = [lexicon.extended(domain.words) for domain in domains]
    for number in range(NUM_DOCUMENTS):
        rng = random.Random(f"text-{number}")
        index = number % len(domains)
        paragraphs = [write_paragraph(domains[index], lexicons[index], rng) for _ in range(rng.randint(*_PARAGRAPHS))]
        yield "\n\n".join(paragraph.context for paragraph in paragraphs)
