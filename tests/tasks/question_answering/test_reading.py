import copy
import json

import pytest

from distill.tasks.question_answering.reading import read_examples
from distill.tasks.question_answering.report import ReadingReport
from distill.types import Answer, UserError

CONTEXT = "El río Ebro nace en Fontibre. El Ebro muere en el mar."


def answer(text="Fontibre", start=20):
    return {"text": text, "answer_start": start}


def question(question_id="q1", answers=None, **more):
    return {
        "id": question_id,
        "question": "¿Dónde nace?",
        "answers": [answer()] if answers is None else answers,
        **more,
    }


def document(*questions, context=CONTEXT):
    return {"version": "1.1", "data": [{"title": "Ríos", "paragraphs": [{"context": context, "qas": list(questions)}]}]}


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="a.json"):
        path = tmp_path / name
        data = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=True).encode()
        path.write_bytes(data)
        return path

    return write_file


def test_reads_v1_and_v2(write):
    examples, report = read_examples(
        [write(document(question(tags=["new", "new"]), question("q2", [], is_impossible=True)))]
    )
    assert [example.question_id for example in examples] == ["q1", "q2"]
    assert examples[0].answers == (Answer("Fontibre", 20),)
    assert examples[0].tags == ("new",)
    assert examples[1].is_impossible
    assert report == ReadingReport(files=1, articles=1, paragraphs=1, questions=2, impossible=1, answers=1)


def test_folder_means_its_json_files_by_name(write, tmp_path):
    for name in ("b", "a", "c"):
        write(document(question(name)), f"{name}.json")
    (tmp_path / "notes.txt").write_text("no data")
    examples, report = read_examples([tmp_path])
    assert [example.question_id for example in examples] == ["a", "b", "c"]
    assert report.files == 3


def test_byte_order_mark_is_tolerated(write):
    data = b"\xef\xbb\xbf" + json.dumps(document(question())).encode()
    assert len(read_examples([write(data)])[0]) == 1


def test_empty_answers_are_dropped_and_counted(write):
    empty = answer("", -1)
    path = write(document(question("q1", [empty, answer(), empty]), question("q2", [empty]), question("q3")))
    examples, report = read_examples([path])
    assert [example.question_id for example in examples] == ["q1", "q3"]
    assert examples[0].answers == (Answer("Fontibre", 20),)
    assert (report.empty_answers_dropped, report.questions_with_empty_answers, report.questions_dropped) == (3, 2, 1)
    assert len(report.describe()) == 3


def test_misplaced_answers_are_moved_if_unique_else_dropped(write):
    good = [question(f"good{i}", [answer()] * 10) for i in range(6)]
    bad = [
        question("moved", [answer("Fontibre", 3)]),
        question("twice", [answer("Ebro", 0), answer()]),
        question("absent", [answer("Tajo", 7)]),
    ]
    examples, report = read_examples([write(document(*good, *bad))])
    found = {example.question_id: example.answers for example in examples}
    assert found["moved"] == (Answer("Fontibre", 20),)
    assert found["twice"] == (Answer("Fontibre", 20),)
    assert "absent" not in found
    assert (report.answers_moved, report.answers_dropped, report.questions_dropped) == (1, 2, 1)
    assert len(report.describe()) == 4


def test_overlapping_occurrences_are_not_unique(write):
    many = [question(f"q{i}", [answer("x", 0)] * 10) for i in range(6)]
    _, report = read_examples([write(document(*many, question("q", [answer("aa", 0)]), context="x baaa"))])
    assert (report.answers_moved, report.answers_dropped) == (0, 1)


def test_negative_offsets_are_misplaced(write):
    good = [question(f"q{i}", [answer()] * 10) for i in range(6)]
    path = write(document(*good, question("q", [answer("mar.", -4)])))
    assert read_examples([path])[1].answers_moved == 1


@pytest.mark.parametrize(("num_good", "is_accepted"), [(19, True), (18, False)])
def test_more_than_five_percent_misplaced_is_an_error(write, num_good, is_accepted):
    path = write(
        document(question("q1", [answer()] * num_good + [answer("", -1)] * 50), question("q2", [answer("Tajo")]))
    )
    if is_accepted:
        assert read_examples([path])[1].answers_dropped == 1
    else:
        with pytest.raises(UserError, match=r"a\.json: 1 of 19 .*article 'Ríos': question 'q2': is this SQuAD form\?"):
            read_examples([path])


def test_strict_refuses_to_drop_a_question_without_answers(write):
    path = write(document(question("q1", [answer()]), question("q2", [])))
    assert read_examples([path])[1].questions_dropped == 1
    with pytest.raises(UserError, match=r"a\.json: article 'Ríos': question 'q2': it has no answer.*strict"):
        read_examples([path], strict=True)


@pytest.mark.parametrize("bad", [answer("", -1), answer("Fontibre", 1), answer("Tajo", 1)])
def test_strict_refuses_every_repair(write, bad):
    path = write(document(question("q1", [answer()] * 30), question("q2", [bad, answer()])))
    read_examples([path])
    with pytest.raises(UserError, match=r"a\.json: article 'Ríos': question 'q2': .*strict"):
        read_examples([path], strict=True)


def test_questions_to_be_answered_need_no_answers(write):
    bare = {"id": "q1", "question": "¿Dónde?"}
    path = write(document(bare, question("q2", [])))
    examples, report = read_examples([path], require_answers=False)
    assert [example.answers for example in examples] == [(), ()]
    assert (report.questions, report.impossible, report.questions_dropped) == (2, 0, 0)
    with pytest.raises(UserError, match="'answers' is missing"):
        read_examples([path])


def test_identifiers_are_unique_over_files(write):
    paths = [write(document(question()), "a.json"), write(document(question()), "b.json")]
    with pytest.raises(UserError, match=r"b\.json: article 'Ríos': question 'q1': .*first in .*a\.json"):
        read_examples(paths)


def test_decomposed_text_is_read_as_it_stands(write):
    context = "El nin\u0303o come."
    path = write(document(question(answers=[answer("nin\u0303o", 3)]), context=context))
    examples, _ = read_examples([path])
    assert examples[0].context == context


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "malformed JSON in line 1"),
        (b"", "malformed JSON"),
        ("é".encode("latin-1"), "not UTF-8"),
        (json.dumps(document(question())).encode("utf-16"), "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 5000, "malformed JSON"),
        (b"[]", "expected an object with 'data'"),
        (b"null", "got null"),
        (b'{"data": {}}', "'data' must be a list"),
        (b'{"data": [3]}', "article 0: expected an object"),
        (b'{"data": []}', "no questions"),
    ],
)
def test_unreadable_files(write, data, message):
    with pytest.raises(UserError, match=message) as error:
        read_examples([write(data)])
    assert "a.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        read_examples([tmp_path / "none.json"])
    with pytest.raises(UserError, match=r"holds no \*\.json"):
        read_examples([tmp_path])
    with pytest.raises(UserError, match="no files to read"):
        read_examples([])
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "._a.json").write_bytes(b"\x00\x05")
    with pytest.raises(UserError, match=r"holds no \*\.json"):
        read_examples([tmp_path])
    (tmp_path / "b.JSON").write_text(json.dumps(document(question("q1", [answer()]))), encoding="utf-8")
    assert len(read_examples([tmp_path])[0]) == 1


SCHEMA = [
    (("title",), None, "'title' must be text, got null"),
    (("paragraphs",), None, "article 0: 'paragraphs' must be a list"),
    (("paragraphs", 0), "text", "paragraph 0: expected an object"),
    (("paragraphs", 0, "context"), 3, "'context' must be text, got 3"),
    (("paragraphs", 0, "context"), " \n", "'context' is empty"),
    (("paragraphs", 0, "qas"), {}, "'qas' must be a list"),
    (("paragraphs", 0, "qas", 0), None, "question 0: expected an object with 'id', got null"),
    (("paragraphs", 0, "qas", 0, "id"), 7, "question 0: 'id' must be text, got 7"),
    (("paragraphs", 0, "qas", 0, "id"), "", "'id' is empty"),
    (("paragraphs", 0, "qas", 0, "question"), "", "question 'q1': 'question' is empty"),
    (("paragraphs", 0, "qas", 0, "question"), "\ud800", "half of a surrogate pair"),
    (("paragraphs", 0, "qas", 0, "answers"), {}, "question 'q1': 'answers' must be a list"),
    (("paragraphs", 0, "qas", 0, "answers"), "x" * 99, r"got 'xxx.*\.\.\."),
    (("paragraphs", 0, "qas", 0, "answers", 0), "mar", "expected an object with 'text'"),
    (("paragraphs", 0, "qas", 0, "answers", 0, "text"), None, "'text' must be text, got null"),
    (("paragraphs", 0, "qas", 0, "answers", 0, "answer_start"), "20", "must be a whole number, got '20'"),
    (("paragraphs", 0, "qas", 0, "answers", 0, "answer_start"), True, "must be a whole number, got True"),
    (("paragraphs", 0, "qas", 0, "is_impossible"), "no", "must be true or false"),
    (("paragraphs", 0, "qas", 0, "is_impossible"), True, "is_impossible is true but the question has answers"),
    (("paragraphs", 0, "qas", 0, "tags"), "new", "'tags' must be a list"),
    (("paragraphs", 0, "qas", 0, "tags"), [None], "tag null must be text"),
    (("paragraphs", 0, "qas", 0, "tags"), ["no_answer"], "tag 'no_answer' must be text and none of"),
]


@pytest.mark.parametrize(("path", "value", "message"), SCHEMA)
def test_wrong_schema_names_the_place(write, path, value, message):
    content = copy.deepcopy(document(question(is_impossible=False, tags=[])))
    place = content["data"][0]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(UserError, match=message) as error:
        read_examples([write(content)])
    assert "a.json: article " in str(error.value)
    assert len(path) < 5 or "question " in str(error.value)


def test_dropping_everything_is_an_error(write):
    with pytest.raises(UserError, match=r"no questions \(1 were dropped\)"):
        read_examples([write(document(question(answers=[])))])


def test_reports_add_up():
    total = ReadingReport(files=1, questions=2) + ReadingReport(files=1, answers_moved=3, answers_dropped=4)
    assert total == ReadingReport(files=2, questions=2, answers_moved=3, answers_dropped=4)
    assert total.misplaced == 7
    assert total.as_dict()["questions"] == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "squad_es_v1.1_dev_small",
            {
                "questions": 6583,
                "articles": 48,
                "paragraphs": 1996,
                "questions_with_empty_answers": 2355,
                "impossible": 0,
            },
        ),
        ("squad_es_v2.0_dev_small", {"questions": 7134, "impossible": 3256}),
        ("xquad_es", {"questions": 1190, "paragraphs": 240, "empty_answers_dropped": 0}),
        ("train_mix_es", {"questions": 9793, "impossible": 2784, "paragraphs": 3086, "empty_answers_dropped": 0}),
    ],
)
def test_real_sets_have_the_counts_of_their_description(real_data, name, expected):
    examples, report = read_examples([real_data / "qa" / f"{name}.json"])
    assert len(examples) == report.questions
    assert report.as_dict() | expected == report.as_dict()
    assert (report.misplaced, report.questions_dropped) == (0, 0)
    assert all(
        example.context.startswith(text, start) and text for example in examples for text, start in example.answers
    )
