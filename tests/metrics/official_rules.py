"""A second scorer, to check the first one with."""

import re
import string
import unicodedata
from collections import Counter


class OfficialRules:
    """The official scripts' rules, written again from their description with other means than the package's."""

    punctuation = {chr(i) for i in range(0x3000) if unicodedata.category(chr(i))[0] == "P"} | set(string.punctuation)

    def mlqa(self, text: str) -> list[str]:
        words = "".join("" if letter in self.punctuation else letter for letter in text.lower())
        return re.sub(r"\b(un|una|unos|unas|el|la|los|las)\b", " ", words).split()

    def squad(self, text: str) -> list[str]:
        words = text.lower().translate(dict.fromkeys(map(ord, string.punctuation)))
        return re.sub(r"\b(a|an|the)\b", " ", words).split()

    def score(self, tokens, predictions: dict[str, str], references: dict[str, list[str]]) -> tuple[float, float]:
        match = overlap = 0.0
        for question_id, answers in references.items():
            predicted = tokens(predictions[question_id])
            match += max(predicted == tokens(answer) for answer in answers)
            best = 0.0
            for expected in map(tokens, answers):
                common = sum((Counter(predicted) & Counter(expected)).values())
                if common:
                    precision, recall = common / len(predicted), common / len(expected)
                    best = max(best, 2 * precision * recall / (precision + recall))
            overlap += best
        return 100 * match / len(references), 100 * overlap / len(references)
