from distill.demo.examples import embedded_examples
from distill.demo.requests import Limits


def test_examples_are_short_questions_about_different_texts():
    examples = embedded_examples()
    assert len(examples) == 6
    assert len({example["context"] for example in examples}) == 6
    for example in examples:
        assert set(example) == {"question", "context"}
        assert len(example["question"]) < Limits().question_chars
        assert len(example["context"]) < 1000
