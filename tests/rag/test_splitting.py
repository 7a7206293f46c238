import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.rag import Document, InvalidOptionError, RagWarning, SentenceSplitter
from stepwell.rag.splitting import split_by_paragraph

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


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab. \n#=-`é日", max_size=400), st.sampled_from(["md", "rst"]))
def test_every_chunk_stands_where_it_says(text, suffix):
    for node in nodes_of(text, f"a.{suffix}", chunk_size=16, chunk_overlap=4):
        assert text[node.start_char_idx : node.end_char_idx] == node.text
        assert node.text.strip()


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
