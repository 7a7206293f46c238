"""What a notebook shows of nodes and answers."""

from html.parser import HTMLParser

from stepwell.rag import NodeList, NodeWithScore, Response, TextNode, show_nodes

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


def test_nothing_in_a_document_becomes_markup():
    nodes = NodeList([node(EVIL, file_name=EVIL, heading=EVIL)], query=EVIL)
    answer = Response(response=f"{EVIL}\n```\n{EVIL}\n```\n", source_nodes=nodes)
    answer.citations = [1]
    views = [
        nodes._repr_html_(),
        nodes[0]._repr_html_(),
        answer._repr_html_(),
        show_nodes(list(nodes), EVIL)._repr_html_(),
        NodeList(query=EVIL)._repr_html_(),
    ]
    for html in views:
        assert tags(html) & {"script", "img"} == set()


def test_nodes_show_rank_source_score_and_text():
    html = NodeList(
        [node("Some text", file_name="a.md", heading="A › B")]
    )._repr_html_()
    for part in ("[1]", "a.md § A › B", "1.5", "Some text"):
        assert part in html


def test_words_of_the_question_are_marked_whatever_their_ending():
    html = NodeList([node("Limits are configured")], query="configure a limit")
    assert "<mark>Limits</mark>" in html._repr_html_()
    assert "<mark>configured</mark>" in html._repr_html_()
    assert "<mark>are</mark>" not in html._repr_html_()


def test_colours_follow_the_notebook_and_the_system():
    html = node("x")._repr_html_()
    assert "var(--jp-layout-color1,#fff)" in html
    assert "prefers-color-scheme:dark" in html


def test_an_answer_shows_code_as_code_and_marks_what_it_cites():
    answer = Response(
        response="Do this [2]:\n```\nx < 1\n```\n",
        source_nodes=[node("one"), node("two")],
        citations=[2],
    )
    html = answer._repr_html_()
    assert "<pre>x &lt; 1</pre>" in html
    assert html.count('class="cited"') == 1


def test_names_in_backticks_are_shown_as_code():
    html = Response(response="Set `a<b` now.")._repr_html_()
    assert "Set <code>a&lt;b</code> now." in html


def test_a_snippet_has_no_underlines_and_fences():
    view = show_nodes([node("Title\n-----\n\n```python\nx = 1\n```\nend")])
    assert repr(view).endswith("    Title x = 1 end")


def test_nodes_can_be_shown_after_an_event_made_a_plain_list_of_them():
    view = show_nodes([node("a " * 400, file_name="a.md")], max_chars=20)
    assert repr(view) == "[1] a.md  (1.5)\n    a a a a a a a a a a …"
    assert "a.md" in view._repr_html_()
    assert repr(show_nodes([])) == "No matching passages."
