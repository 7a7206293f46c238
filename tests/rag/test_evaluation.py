"""Asking labelled questions: figures, intervals, comparisons, what is shown."""

import asyncio
import json
import math
import subprocess
import sys
import xml.dom.minidom

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.rag import (
    Document,
    Gold,
    InvalidOptionError,
    LexicalRerank,
    MissingPathError,
    NodeWithScore,
    Question,
    SentenceSplitter,
    TextNode,
    VectorStoreIndex,
    acompare,
    aevaluate,
    compare,
    evaluate,
    load_questions,
    questions_from_headings,
)
from stepwell.rag.metrics import mean, ndcg, percentile, proportion


class Scripted:
    """A retriever that returns the documents it was told to, best first."""

    def __init__(self, **answers):
        self.answers = answers

    def retrieve(self, query):
        return [
            NodeWithScore(
                node=TextNode(text=f"{query} {id_}", id_=id_, ref_doc_id=id_), score=1.0
            )
            for id_ in self.answers.get(query, "x" * 15)
        ]


QUESTIONS = [("one", "a"), ("two", "b"), ("three", "c"), ("four", "d")]
HALF = Scripted(one="abcde", two="xbxxx", three="xxxxc", four="xxxxx")


def node_at(document="d", start=0, end=10, heading=None, text="some text"):
    metadata = {} if heading is None else {"heading": heading}
    node = TextNode(
        text=text,
        ref_doc_id=document,
        start_char_idx=start,
        end_char_idx=end,
        metadata=metadata,
    )
    return NodeWithScore(node=node, score=1.0)


def test_hit_rates_and_ranks_are_those_worked_out_by_hand():
    report = evaluate(HALF, QUESTIONS, k=(1, 2, 5))
    rates = {k: estimate.value for k, estimate in report.hit_rate.items()}
    assert rates == {1: 0.25, 2: 0.5, 5: 0.75}
    assert report.mrr.value == pytest.approx((1 + 1 / 2 + 1 / 5) / 4)
    assert report.ndcg[5].value == pytest.approx(
        (1 + 1 / math.log2(3) + 1 / math.log2(6)) / 4
    )
    assert [result.rank for result in report.results] == [1, 2, 5, None]
    assert [question.question for question in report.missed] == ["four"]


def test_a_gold_place_counts_once_however_many_chunks_hold_it():
    [result] = evaluate(Scripted(q="aabbb"), [("q", ["a", "b"])], k=5).results
    assert result.gains == (True, False, True, False, False)
    assert result.ndcg(5) == pytest.approx((1 + 0.5) / (1 + 1 / math.log2(3)))


def test_rates_deeper_than_what_is_returned_are_left_out_and_said_so():
    report = evaluate(HALF, QUESTIONS)
    assert (report.k, report.left_out) == ((1, 5), (15,))
    assert "fewer than 15 chunks" in report._repr_html_()


@pytest.mark.parametrize(
    ("gold", "fits"),
    [
        ("d", True),
        ("other", False),
        (("d", "B"), True),
        (("d", "A › B"), True),
        (("d", "A"), False),
        (("d", 9, 20), True),
        (("d", 10, 20), False),
        (Gold(document="d", quote="an  answer\n stands"), True),
        (Gold(document="d", quote="elsewhere"), False),
        ([("d", "C"), "d"], True),
    ],
)
def test_gold_is_a_document_a_heading_a_span_or_a_quote(gold, fits):
    chunk = node_at(heading="A › B", text="Here an answer stands.")

    class One:
        def retrieve(self, query):
            return [chunk]

    report = evaluate(One(), [("q", gold)], k=1)
    assert report.hit_rate[1].value == fits


def test_a_quote_is_found_however_the_document_is_cut():
    text = "# T\n\n" + "\n\n".join(
        f"Sentence number {i} stands here." for i in range(60)
    )
    question = Question(
        question="number 31", gold=(Gold(document="d", quote="number 31 stands"),)
    )
    for size in (16, 64, 512):
        index = VectorStoreIndex.from_documents(
            [Document(text=text, id_="d")],
            transformations=[SentenceSplitter(size, 0)],
        )
        assert evaluate(index.as_retriever(5), [question], k=5).missed == []


@pytest.mark.parametrize("questions", [[], [("q",)], ["q"], [("", "d")], [("q", 3)]])
def test_what_is_no_question_is_refused_with_what_would_be_one(questions):
    with pytest.raises(InvalidOptionError, match="document id"):
        evaluate(HALF, questions)


def test_an_index_is_no_retriever_and_the_error_says_what_is():
    with pytest.raises(InvalidOptionError, match=r"as_retriever\(15\)"):
        evaluate(VectorStoreIndex(), QUESTIONS)
    with pytest.raises(InvalidOptionError, match="1 or more"):
        evaluate(HALF, QUESTIONS, k=0)
    with pytest.raises(InvalidOptionError, match="by name"):
        compare([HALF], QUESTIONS)


def test_of_a_query_engine_retrieval_is_measured_and_no_model_is_asked():
    class Unasked:
        def complete(self, prompt):
            raise AssertionError("a model was asked")

    index = VectorStoreIndex.from_documents(
        [Document(text=f"colour {name}", id_=name) for name in ("red", "blue")]
    )
    engine = index.as_query_engine(
        2, llm=Unasked(), node_postprocessors=[LexicalRerank(top_n=1)]
    )
    report = evaluate(engine, [("blue colour", "blue")], k=(1, 2))
    assert report.hit_rate[1].value == 1
    assert report.left_out == (2,), "the reranker keeps one"
    assert asyncio.run(aevaluate(engine, [("red", "red")], k=1)).missed == []


def test_awaiting_gives_the_same_figures():
    index = VectorStoreIndex.from_documents(
        [Document(text=f"word{i} and so on", id_=str(i)) for i in range(30)]
    )
    questions = [(f"word{i}", str(i)) for i in range(30)]
    plain = evaluate(index.as_retriever(5), questions, k=5)
    awaited = asyncio.run(aevaluate(index.as_retriever(5), questions, k=5))
    assert [r.rank for r in awaited.results] == [r.rank for r in plain.results]
    both = asyncio.run(acompare({"a": index.as_retriever(5)}, questions, k=5))
    assert both.reports["a"].hit_rate == plain.hit_rate


def test_kinds_of_questions_are_told_apart():
    questions = [
        Question(question="one", gold=(Gold(document="a"),), kind="easy"),
        Question(question="four", gold=(Gold(document="d"),), kind="hard"),
    ]
    report = evaluate(HALF, questions, k=1)
    rates = {kind: part.hit_rate[1].value for kind, part in report.by_kind().items()}
    assert rates == {"easy": 1.0, "hard": 0.0}
    assert "easy hit@1" in report._repr_html_()


def test_rows_hold_what_each_question_gave():
    rows = evaluate(HALF, QUESTIONS, k=(1, 5)).to_rows()
    assert [row["rank"] for row in rows] == [1, 2, 5, None]
    assert rows[1]["hit@1"] is False and rows[1]["hit@5"] is True
    assert rows[0]["gold"] == ["a"] and rows[0]["seconds"] >= 0
    json.dumps(rows)


def test_rows_become_a_table_of_pandas():
    pytest.importorskip("pandas")
    frame = evaluate(HALF, QUESTIONS, k=5).to_pandas()
    assert list(frame["rank"].dropna()) == [1, 2, 5]
    assert str(frame["rank"].dtype) == "Int64"
    both = compare({"a": HALF, "b": HALF}, QUESTIONS, k=5).to_pandas()
    assert list(both["name"]) == ["a", "b"]


def test_evaluating_needs_neither_numpy_nor_pandas():
    code = (
        "import sys; from stepwell.rag import *\n"
        "index = VectorStoreIndex.from_documents([Document(text='sky', id_='d')])\n"
        "report = evaluate(index.as_retriever(1), [('sky', 'd')], k=1)\n"
        "report._repr_html_()\n"
        "print(report.hit_rate[1].value, 'numpy' in sys.modules, "
        "'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["1.0", "False", "False"], done.stderr


def test_a_comparison_tells_differences_and_which_are_clear():
    worse = Scripted(**{str(i): "xxxxx" for i in range(100)})
    better = Scripted(**{str(i): "axxxx" if i % 2 else "xxxxx" for i in range(100)})
    questions = [(str(i), "a") for i in range(100)]
    comparison = compare({"worse": worse, "better": better}, questions, k=5)
    [difference] = [d for d in comparison.differences if d.figure == "hit@5"]
    assert difference.estimate.value == pytest.approx(0.5)
    assert difference.is_clear
    assert 0.35 < difference.estimate.low < 0.5 < difference.estimate.high < 0.65
    same = compare({"one": worse, "two": worse}, questions, k=5)
    assert not any(d.is_clear for d in same.differences)


def test_a_comparison_lists_what_only_one_of_two_finds():
    other = Scripted(one="xxxxx", two="bxxxx", three="xxxxx", four="dxxxx")
    comparison = compare({"half": HALF, "other": other}, QUESTIONS, k=(1, 5))
    only = comparison.found_only_by("other", "half", k=5)
    assert [q.question for q in only] == ["four"]
    back = comparison.found_only_by("half", "other", k=5)
    assert [q.question for q in back] == ["one", "three"]
    with pytest.raises(InvalidOptionError, match="'half', 'other'"):
        comparison.found_only_by("half", "nobody")


def test_questions_are_read_from_a_file_of_json_lines(tmp_path):
    file = tmp_path / "q.jsonl"
    line = {"question": "Why?", "gold": [{"document": "d", "heading": "H"}]}
    file.write_text(json.dumps(line) + "\n\n", encoding="utf-8")
    [question] = load_questions(file)
    assert str(question.gold[0]) == "d § H"
    file.write_text(json.dumps(line) + '\n{"question": "x"}\n', encoding="utf-8")
    with pytest.raises(InvalidOptionError, match=r"Line 2 of q\.jsonl.*gold"):
        load_questions(file)
    with pytest.raises(MissingPathError):
        load_questions(tmp_path / "none.jsonl")


def test_headings_become_questions_that_their_sections_answer(demo, demo_documents):
    questions = questions_from_headings(demo_documents, 40)
    assert len(questions) == 40
    assert questions == questions_from_headings(demo_documents, 40)
    assert questions != questions_from_headings(demo_documents, 40, seed=1)
    assert evaluate(demo.as_retriever(5), questions, k=5).hit_rate[5].value > 0.8


def test_without_headings_there_are_no_questions_and_the_error_says_so():
    with pytest.raises(InvalidOptionError, match="headings"):
        questions_from_headings([Document(text="plain")])


HOSTILE = '<script>alert(1)</script><img src=x onerror="y">'


def test_hostile_questions_and_names_are_shown_as_text():
    class Mean:
        def retrieve(self, query):
            node = TextNode(text=HOSTILE, ref_doc_id="d", metadata={"heading": HOSTILE})
            return [NodeWithScore(node=node, score=1.0)]

    gold = Gold(document=HOSTILE, heading=HOSTILE)
    questions = [Question(question=HOSTILE, gold=(gold,), kind=HOSTILE), ("q", "d")]
    report = evaluate(Mean(), questions, k=1, name=HOSTILE)
    comparison = compare({HOSTILE: Mean(), "b": Scripted(q="d")}, questions, k=1)
    for html in (report._repr_html_(), comparison._repr_html_()):
        assert "<script" not in html and "<img" not in html
        assert "&lt;script&gt;" in html


def test_the_plot_is_well_formed_and_says_its_figures():
    html = compare({"half": HALF, "again": HALF}, QUESTIONS, k=(1, 5))._repr_html_()
    svg = html[html.index("<svg") : html.index("</svg>") + 6]
    drawn = xml.dom.minidom.parseString(svg)
    assert len(drawn.getElementsByTagName("circle")) == 2 * 4
    titles = [t.firstChild.data for t in drawn.getElementsByTagName("title")]
    assert titles[0].startswith("half: hit@1 0.250 [")


@given(st.integers(0, 200), st.integers(1, 200))
def test_an_interval_holds_its_rate_and_stays_within_bounds(hits, total):
    estimate = proportion(min(hits, total), total)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_a_rate_of_one_half_of_a_hundred_has_the_interval_of_the_textbook():
    estimate = proportion(50, 100)
    assert (estimate.low, estimate.high) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def test_the_interval_of_a_mean_narrows_with_more_values():
    few, many = mean([0.0, 1.0] * 10), mean([0.0, 1.0] * 200)
    assert many.high - many.low < few.high - few.low
    assert few == mean([0.0, 1.0] * 10), "the same each time"
    assert mean([0.25] * 7).low == mean([0.25] * 7).high == 0.25


@given(st.lists(st.booleans(), max_size=20), st.integers(1, 20))
def test_ndcg_stays_within_bounds(gains, k):
    wanted = max(1, sum(gains))
    assert 0 <= ndcg(gains, wanted, k) <= 1 + 1e-9


def test_percentiles_lie_between_neighbours():
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([0, 10], 0.95) == pytest.approx(9.5)
    assert percentile([], 0.5) == 0


def test_engines_and_retrievers_are_compared_side_by_side():
    index = VectorStoreIndex.from_documents(
        [Document(text=f"colour {name}", id_=name) for name in ("red", "blue")]
    )
    comparison = compare(
        {"retriever": index.as_retriever(2), "engine": index.as_query_engine(2)},
        [("blue colour", "blue"), ("red", "red")],
        k=(1, 2),
    )
    rows = comparison.to_rows()
    assert [(row["name"], row["hit@1"]) for row in rows] == [
        ("retriever", 1.0),
        ("engine", 1.0),
    ]
    assert rows[0]["hit@1_low"] < 1


def test_how_many_questions_were_asked_is_shown_on_request(capsys):
    evaluate(HALF, QUESTIONS, k=1)
    assert capsys.readouterr().err == ""
    evaluate(HALF, QUESTIONS, k=1, show_progress=True)
    assert "4 of 4 questions asked" in capsys.readouterr().err
