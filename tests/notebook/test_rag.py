"""What reading, searching and answering show in a notebook, in a real kernel."""

import re

PREPARE = """
from pathlib import Path
from tempfile import mkdtemp
from stepwell.rag import *
folder = Path(mkdtemp())
for name in ("a.md", "b.md", "c.md"):
    (folder / name).write_text(f"# Limits\\n\\nTen requests a minute, says {name}.")
"""


def test_a_bar_below_the_cell_becomes_a_line_that_stays(execute):
    _, cell = execute(
        PREPARE, "found = SimpleDirectoryReader(folder).load_data(show_progress=True)"
    )
    (bundle,) = cell.bundles
    assert bundle["text/plain"] == "3 of 3 files read"
    assert "✓" in bundle["text/html"]
    assert "3 of 3 files read" in bundle["text/html"]
    assert cell.printed == ""


def test_an_awaited_reader_shows_the_same(execute):
    _, cell = execute(
        PREPARE,
        "found = await SimpleDirectoryReader(folder).aload_data(show_progress=True)",
    )
    assert [b["text/plain"] for b in cell.bundles] == ["3 of 3 files read"]
    assert cell.printed == ""


def test_bars_within_bars_each_have_a_place_and_errors_stop_them(execute):
    [cell] = execute(
        """
        from stepwell.rag.progress import Progress
        with Progress("folders read", 2) as outer:
            outer.advance()
            with Progress("files read", 9) as inner:
                inner.advance(4)
                1 / 0
        """
    )
    assert [b["text/plain"] for b in cell.bundles] == [
        "1 of 2 folders read",
        "4 of 9 files read",
    ]
    assert all("then stopped" in b["text/html"] for b in cell.bundles)
    assert cell.error.ename == "ZeroDivisionError"


def test_a_thousand_counts_are_few_messages(execute):
    [cell] = execute(
        """
        import time
        from stepwell.rag.progress import Progress
        publisher = get_ipython().display_pub
        sent, publish = [], publisher.publish
        def counting(*args, **options):
            sent.append(bool(options.get("update")))
            return publish(*args, **options)
        publisher.publish = counting
        began = time.monotonic()
        with Progress("files read", 20_000) as bar:
            for _ in range(20_000):
                bar.advance()
        seconds = time.monotonic() - began
        publisher.publish = publish
        len(sent) <= 3 + 10 * seconds, sent[:2]
        """
    )
    assert cell.value == "(True, [False, True])"


def test_documents_chunks_answers_and_indexes_are_shown(execute):
    cells = execute(
        PREPARE,
        "documents = SimpleDirectoryReader(folder).load_data(); documents",
        "documents[0]",
        "index = VectorStoreIndex.from_documents(documents); index",
        "found = index.as_retriever().retrieve('How many requests?'); found",
        "found[0].node",
        "index.as_query_engine().query('How many requests?')",
    )
    shown = [cell.bundles[-1]["text/html"] for cell in cells[1:]]
    for html in shown:
        text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.S)
        assert "a.md" in text
        assert len(html) < 20_000
    assert "3 documents" in shown[0]
    assert "3 chunks" in shown[2]
    assert "<mark>requests</mark>" in shown[3]
