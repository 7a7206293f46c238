import json
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.test_readers import pdf, write_docx
from stepwell.rag import (
    Document,
    InvalidOptionError,
    RagWarning,
    SentenceSplitter,
    SimpleDirectoryReader,
)
from stepwell.rag.paragraphs import split_by_paragraph

GUIDE = """\
# Guide

Welcome to the guide.

## Limits

Ten requests a minute.

```python
# not a heading
```

## Storage
### Redis

Use redis.
"""


def nodes_of(text, name="guide.md", **options):
    document = Document(text=text, metadata={"file_name": name}, id_=name)
    return SentenceSplitter(**options).get_nodes_from_documents([document])


def test_chunks_follow_headings_and_know_them():
    nodes = nodes_of(GUIDE)
    assert [node.metadata["heading"] for node in nodes] == [
        "Guide",
        "Guide › Limits",
        "Guide › Storage › Redis",
    ]
    assert {node.metadata["title"] for node in nodes} == {"Guide"}
    assert "# not a heading" in nodes[1].text


def test_headings_of_restructured_text_are_found():
    text = "=====\nGuide\n=====\n\nHello.\n\nLimits\n------\n\nTen.\n\nA\n~\n\nB."
    nodes = nodes_of(text, "guide.rst")
    assert [node.metadata["heading"] for node in nodes] == ["Guide", "Guide › Limits"]


def test_comments_in_source_code_are_not_headings():
    [node] = nodes_of("# a comment\nx = 1\n# another\ny = 2\n", "a.py")
    assert "heading" not in node.metadata


PIECES = [
    *("def a():\n", "class B:\n", "    x = 1\n", "    def c(self):\n", "@d\n"),
    *("'''", "# e\n", "\n", "# Head\n", "Title\n=====\n", "```\n", "word. ", '"'),
]
SUFFIXES = ["md", "rst", "txt", "py", "csv", "html", "ipynb", "json", "pdf", ""]


def stand_where_they_say(document, nodes):
    for node in nodes:
        found = document.text[node.start_char_idx : node.end_char_idx]
        assert found == node.text
        assert node.text.strip()


@settings(max_examples=150, deadline=None)
@given(
    st.text(alphabet="ab. \n#=-`é日👍🏽\t", max_size=400)
    | st.lists(
        st.sampled_from(PIECES),
        max_size=40,
    ).map("".join),
    st.sampled_from(SUFFIXES),
)
def test_every_chunk_stands_where_it_says(text, suffix):
    document = Document(text=text, metadata={"file_name": f"a.{suffix}"})
    splitter = SentenceSplitter(chunk_size=16, chunk_overlap=4)
    stand_where_they_say(document, splitter.get_nodes_from_documents([document]))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300), st.integers(1, 20), st.data())
def test_every_chunk_of_the_plain_splitter_does_too(text, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    for start, chunk in split_by_paragraph(text, size, overlap):
        assert text[start : start + len(chunk)] == chunk
        assert chunk.strip()
        assert len(chunk) <= 4 * size


@pytest.fixture
def one_of_each(tmp_path):
    """A folder with a file of every format, each with a few paragraphs."""
    prose = "\n\n".join(
        f"Limit {n} is for clients. It counts twice." for n in range(30)
    )
    (tmp_path / "a.txt").write_text(prose)
    (tmp_path / "a.md").write_text(f"# Limits\n\n{prose}")
    (tmp_path / "a.rst").write_text(f"Limits\n======\n\n{prose}")
    (tmp_path / "a.html").write_text(f"<h1>Limits</h1><p>{prose}</p><pre>x\n y</pre>")
    (tmp_path / "a.py").write_text(
        f'"""Limits."""\n\ndef limit():\n    """{prose}"""\n'
    )
    (tmp_path / "a.csv").write_text(
        "id,text\n" + "".join(f"{n},é\n" for n in range(99))
    )
    (tmp_path / "u.txt").write_bytes(f"“{prose}”\r\n".encode("utf-16"))
    cells = [{"cell_type": "markdown", "source": f"# Limits\n{prose}"}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    (tmp_path / "a.pdf").write_bytes(pdf("First page. " * 20, "Second page."))
    write_docx(tmp_path / "a.docx", "Limits", prose)
    return tmp_path


@pytest.mark.parametrize("library", [True, False], ids=["library", "plain"])
def test_chunks_of_files_of_every_format_stand_where_they_say(
    one_of_each, library, monkeypatch
):
    pytest.importorskip("pypdfium2")
    pytest.importorskip("mammoth")
    documents = SimpleDirectoryReader(one_of_each).load_data()
    splitter = SentenceSplitter(chunk_size=40, chunk_overlap=12)
    if library:
        nodes = splitter.get_nodes_from_documents(documents)
    else:
        monkeypatch.setitem(sys.modules, "stepwell.rag.semantic_text_splitter", None)
        with pytest.warns(RagWarning):
            nodes = splitter.get_nodes_from_documents(documents)
    by_id = {document.id_: document for document in documents}
    assert {node.ref_doc_id for node in nodes} == set(by_id)
    assert len(by_id) == 11
    for node in nodes:
        stand_where_they_say(by_id[node.ref_doc_id], [node])


CODE = """\
import os

LIMIT = 3

# How long to wait.
@cached
def wait(seconds):
    def inner():
        return seconds
    return inner


class Client:
    \"\"\"Talks.

def not_a_function(): it is in a string
\"\"\"

    async def ask(
        self,
    ):
        return 1

AFTER = 4
"""


def test_functions_and_classes_are_sections_with_their_lines():
    nodes = nodes_of(CODE, "a.py")
    told = [(node.metadata.get("heading"), node.metadata["lines"]) for node in nodes]
    assert told == [(None, "1–3"), ("wait", "5–10"), ("Client", "13–22"), (None, "24")]
    assert nodes[1].text.startswith("# How long to wait.\n@cached\ndef wait")
    assert nodes[1].source == "a.py, lines 5–10 § wait"


def test_a_class_too_long_for_a_chunk_has_its_methods_for_sections():
    method = "    def {n}(self):\n" + "        self.count += 1\n" * 30
    code = f"class Client:\n    x = 1\n{method.format(n='ask')}{method.format(n='end')}"
    nodes = nodes_of(code, "a.py", chunk_size=300)
    told = [(node.metadata["heading"], node.metadata["lines"]) for node in nodes]
    assert told == [
        ("Client", "1–2"),
        ("Client › ask", "3–33"),
        ("Client › end", "34–64"),
    ]


def test_code_that_does_not_compile_has_functions_too():
    nodes = nodes_of("def a(:\n    print 'x'\n\ndef b(]\n    'it\n", "a.py")
    assert [node.metadata["heading"] for node in nodes] == ["a", "b"]


def test_lines_are_right_where_chunks_overlap():
    text = "".join(f"value_{n} = {n}\n" for n in range(300))
    for node in nodes_of(text, "a.toml", chunk_size=50, chunk_overlap=20):
        first, last = node.metadata["lines"].split("–")
        assert node.text.startswith(f"value_{int(first) - 1} =")
        assert node.text.endswith(f"= {int(last) - 1}")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abc", min_size=1, max_size=9), max_size=60))
def test_no_word_is_lost(words):
    text = ". ".join(words)
    joined = " ".join(node.text for node in nodes_of(text, "a.txt", chunk_size=12))
    assert set(joined.replace(".", " ").split()) == set(words)


def test_chunks_keep_to_the_size():
    text = "A sentence about limits. " * 200
    sizes = [len(n.text.split()) for n in nodes_of(text, chunk_size=64)]
    assert len(sizes) > 10
    assert max(sizes) <= 64


def test_neighbours_overlap_by_the_tokens_asked_for():
    text = " ".join(f"Sentence number {i}." for i in range(100))
    nodes = nodes_of(text, chunk_size=50, chunk_overlap=20)
    for before, after in pairwise(nodes):
        assert after.start_char_idx < before.end_char_idx


def test_a_very_long_paragraph_is_cut_without_losing_a_character():
    text = "word " * 50_000
    nodes = nodes_of(text, "a.txt", chunk_overlap=0)
    assert sum(node.text.count("word") for node in nodes) == 50_000


def test_an_overlap_as_large_as_the_size_is_refused():
    with pytest.raises(InvalidOptionError, match="chunk_overlap=64"):
        SentenceSplitter(chunk_size=64, chunk_overlap=64)


def test_an_unknown_tokenizer_is_refused_with_one_that_works():
    with pytest.raises(InvalidOptionError, match=r"tokenizer='nobody'.*'gpt-4o'"):
        nodes_of(GUIDE, tokenizer="nobody")


def test_the_plain_splitter_ends_chunks_where_sentences_do():
    text = "Ten requests a minute are allowed. " * 50
    chunks = split_by_paragraph(text, 32)
    assert len(chunks) > 5
    assert all(chunk.endswith(".") for _, chunk in chunks)


def test_neighbours_overlap_by_whole_sentences_in_the_plain_splitter():
    text = " ".join(f"Sentence number {n} is here." for n in range(100))
    chunks = split_by_paragraph(text, 60, 30)
    for (before, first), (after, second) in pairwise(chunks):
        assert before < after < before + len(first) <= after + 4 * 30
        assert second.startswith("Sentence")


def test_the_missing_library_is_said_once_for_many_documents(monkeypatch):
    monkeypatch.setitem(sys.modules, "stepwell.rag.semantic_text_splitter", None)
    documents = [Document(text="a", metadata={"file_name": "a.md"}) for _ in range(9)]
    with pytest.warns(RagWarning) as caught:
        SentenceSplitter().get_nodes_from_documents(documents)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_ids_are_the_same_every_time():
    assert [n.id_ for n in nodes_of(GUIDE)] == [n.id_ for n in nodes_of(GUIDE)]
    assert nodes_of(GUIDE)[0].ref_doc_id == "guide.md"


def test_without_the_splitter_library_paragraphs_are_cut_and_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "stepwell.rag.semantic_text_splitter", None)
    with pytest.warns(RagWarning, match=r'pip install "stepwell\[rag\]"'):
        nodes = nodes_of(GUIDE)
    assert [node.metadata["heading"] for node in nodes][-1] == "Guide › Storage › Redis"


@given(st.text("ab \n", max_size=300), st.integers(1, 20))
def test_the_plain_splitter_loses_nothing_and_stands_where_it_says(text, size):
    chunks = split_by_paragraph(text, size)
    for start, chunk in chunks:
        assert text[start : start + len(chunk)] == chunk
        assert len(chunk) <= 4 * size
    letters = [c for _, chunk in chunks for c in chunk if not c.isspace()]
    assert letters == [c for c in text if not c.isspace()]
