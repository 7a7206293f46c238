"""What a notebook shows of nodes and answers."""

import re
from html.parser import HTMLParser

import pytest

from stepwell.rag import (
    Document,
    DocumentList,
    HuggingFaceEmbedding,
    NodeList,
    NodeWithScore,
    Response,
    SentenceSplitter,
    TextNode,
    VectorStoreIndex,
    show_nodes,
)

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def node(text, **metadata):
    return NodeWithScore(
        node=TextNode(text=text, metadata=metadata),
        score=1.5,
        scores={"bm25": 1.5},
    )


def tags(html):
    found = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.append(tag)
            assert not [name for name, _ in attrs if name.startswith("on")]

    Tags().feed(html)
    return set(found)


def views_of(text):
    """Everything that is shown of a text, as HTML."""
    nodes = NodeList([node(text, file_name=text, heading=text)], query=text)
    answer = Response(response=f"{text} [1]\n```\n{text}\n```\n", source_nodes=nodes)
    answer.citations = [1]
    answer.query = text
    document = Document(text=text, id_=text, metadata={text: text})
    index = VectorStoreIndex([TextNode(text=text, ref_doc_id=text, id_=text)])
    return [
        nodes._repr_html_(),
        nodes[0]._repr_html_(),
        nodes[0].node._repr_html_(),
        answer._repr_html_(),
        show_nodes(list(nodes), text)._repr_html_(),
        NodeList(query=text)._repr_html_(),
        document._repr_html_(),
        DocumentList([document])._repr_html_(),
        index._repr_html_(),
    ]


def test_nothing_in_a_document_becomes_markup():
    for html in views_of(EVIL):
        assert tags(html) & {"script", "img"} == set()


@pytest.mark.parametrize("text", ["\x00\x1b[31m", "\u202egpj.exe"])
def test_what_no_page_can_hold_and_what_turns_it_round_is_replaced(text):
    for html in views_of(f"a{text}b"):
        assert text[0] not in html
        html.encode()


def test_half_a_letter_is_replaced_too():
    found = NodeList([node("a\ud800b", file_name="a\ud800b")], query="a\ud800b")
    document = Document(text="a\ud800b", id_="a\ud800b")
    for shown in (found, document, Response(response="a\ud800b", query="\ud800")):
        assert shown._repr_html_().encode()


def test_whatever_is_shown_is_bounded():
    long = "Limits of requests & more. " * 20_000
    nodes = NodeList([node(long, file_name=long) for _ in range(200)], query=long)
    answer = Response(response=long, query=long, source_nodes=nodes, citations=[1])
    documents = DocumentList(Document(text=long, id_=f"{n}{long}") for n in range(200))
    for html in (nodes._repr_html_(), answer._repr_html_(), documents._repr_html_()):
        assert len(html) < 700_000
    for shown in (nodes, documents):
        assert re.search(r"and 1\d\d more", shown._repr_html_())


def test_documents_show_names_lengths_and_texts():
    found = DocumentList([Document(text="Ten a minute", id_="a.md"), Document(id_="b")])
    html = found._repr_html_()
    for part in ("2 documents", "12 letters", "a.md", "Ten a minute"):
        assert part in html
    assert isinstance(found[:1], DocumentList)
    assert found[0].id_ == "a.md"
    assert "No documents" in DocumentList()._repr_html_()


def test_an_index_shows_what_it_holds():
    index = VectorStoreIndex.from_documents(
        [Document(text="# A\n\nRates.\n\n# B\n\nLimits.", id_="guide.md")]
        + [Document(text="Other", id_=f"{n}.txt") for n in range(20)]
    )
    html = index._repr_html_()
    for part in ("22 chunks", "21 documents", "searched by words", "guide.md"):
        assert part in html
    assert "and 9 documents more" in html
    assert "Rates." in html or "Limits." in html, "a sample"
    assert "empty" in VectorStoreIndex()._repr_html_()


def test_an_index_with_vectors_names_its_model_and_their_size(minilm):
    pytest.importorskip("sentence_transformers")
    model = HuggingFaceEmbedding(str(minilm))
    index = VectorStoreIndex([TextNode(text="x")], embed_model=model, cache=False)
    html = index._repr_html_()
    for part in ("searched by words and vectors", "384 dimensions", "1.54 KB"):
        assert part in html
    assert str(minilm).rsplit("/", 1)[-1] in html


def test_chunks_can_be_looked_at_with_their_places():
    [document] = [Document(text="One two three. " * 40, metadata={"file_name": "a.md"})]
    chunks = SentenceSplitter(64, 16).get_nodes_from_documents([document])
    html = show_nodes(chunks, "three")._repr_html_()
    assert f"letters {chunks[1].start_char_idx:,}–{chunks[1].end_char_idx:,}" in html
    assert "<mark>three</mark>" in html


def test_numbers_in_an_answer_lead_to_the_passages():
    nodes = [node("one", file_name="1.md"), node("two", file_name="2.md")]
    html = Response(response="So [1, 2] and [7] and [2].", source_nodes=nodes)
    html = html._repr_html_()
    targets = re.findall(r'<a href="#([^"]*)" title="([^"]*)"', html)
    assert [title for _, title in targets] == ["1.md", "2.md", "2.md"]
    for target, _ in targets:
        assert html.count(f'id="{target}"') == 1
    assert "[7]" in html


def test_the_same_answer_shown_twice_leads_to_its_own_passages():
    answer = Response(response="So [1].", source_nodes=[node("one")])
    first, second = answer._repr_html_(), answer._repr_html_()
    assert re.findall(r'href="([^"]*)"', first) != re.findall(r'href="([^"]*)"', second)


def test_nodes_show_rank_source_score_and_text():
    html = NodeList(
        [node("Some text", file_name="a.md", heading="A › B")]
    )._repr_html_()
    for part in ("[1]", "a.md § A › B", "1.5", "Some text"):
        assert part in html


def test_the_repr_of_a_node_is_one_line():
    assert repr(node("Some text", file_name="a.md", heading="B")) == (
        "<NodeWithScore 1.50: a.md § B>"
    )


def test_words_of_the_question_are_marked_whatever_their_ending():
    html = NodeList([node("Limits are configured")], query="configure a limit")
    assert "<mark>Limits</mark>" in html._repr_html_()
    assert "<mark>configured</mark>" in html._repr_html_()
    assert "<mark>are</mark>" not in html._repr_html_()


def test_colours_are_the_notebooks_or_suit_light_and_dark_pages():
    html = node("x")._repr_html_()
    assert "color:var(--jp-ui-font-color1,inherit)" in html
    assert "#fff" not in html
    assert "#000" not in html


def test_an_answer_shows_code_as_code_and_marks_what_it_cites():
    answer = Response(
        response="Do this [2]:\n```\nx < 1\n```\n",
        source_nodes=[node("one"), node("two")],
        citations=[2],
    )
    html = answer._repr_html_()
    assert ">x &lt; 1</pre>" in html
    assert html.count('title="cited in the answer"') == 1


def test_names_in_backticks_are_shown_as_code():
    html = Response(response="Set `a<b` now.")._repr_html_()
    assert re.search(r"Set <code [^>]*>a&lt;b</code> now\.", html)


def test_a_snippet_has_no_underlines_and_fences():
    view = show_nodes([node("Title\n-----\n\n```python\nx = 1\n```\nend")])
    assert repr(view).endswith("    Title x = 1 end")


def test_nodes_can_be_shown_after_an_event_made_a_plain_list_of_them():
    view = show_nodes([node("a " * 400, file_name="a.md")], max_chars=20)
    assert repr(view) == "[1] a.md  (1.5)\n    a a a a a a a a a a …"
    assert "a.md" in view._repr_html_()
    assert repr(show_nodes([])) == "No matching passages."
