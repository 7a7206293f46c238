"""What `show_progress=True` tells on stderr, and that it is told only then."""

import asyncio
import io
import re
import sys
from contextlib import redirect_stderr
from itertools import pairwise

import pytest

from rag.model_server import failure
from stepwell.rag import (
    Document,
    DocumentReadError,
    ModelServerError,
    NoDocumentsError,
    OpenAIEmbedding,
    RagWarning,
    Settings,
    SimpleDirectoryReader,
    TextNode,
    VectorStoreIndex,
    progress,
)


class Terminal(io.StringIO):
    """A stderr that says it is a terminal, and can look aside at each write."""

    look = staticmethod(lambda: None)

    def __init__(self):
        super().__init__()
        self.seen = []

    def isatty(self):
        return True

    def write(self, text):
        self.seen.append(self.look())
        return super().write(text)

    def counts(self):
        """The counts shown one after the other, all on one line that is finished."""
        shown = self.getvalue()
        assert shown.endswith("\n")
        assert shown.count("\n") == 1
        return [int(re.match(r"\d+", line)[0]) for line in shown[:-1].split("\r")]


@pytest.fixture(autouse=True)
def no_cache():
    """Nothing is known from one test in the next; see test_cache.py."""
    Settings.cache_dir = None


@pytest.fixture(autouse=True)
def every_count(monkeypatch):
    """Every count is told, however soon after another; see test_progress_places.py."""
    monkeypatch.setattr(progress, "INTERVAL", 0)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.md", "b.txt", "c.md"):
        (tmp_path / name).write_text("text")
    return tmp_path


class LengthEmbedding:
    """Embeds a text by its length, as any object with the methods may."""

    def __init__(self, **attributes):
        self.calls = []
        vars(self).update(attributes)

    def get_text_embedding_batch(self, texts):
        self.calls.append(len(texts))
        return [self.get_query_embedding(text) for text in texts]

    def get_query_embedding(self, query):
        if query == "bad":
            raise ValueError("bad text")
        return [float(len(query)), 1.0]


class AsyncLengthEmbedding(LengthEmbedding):
    async def aget_text_embedding_batch(self, texts):
        return self.get_text_embedding_batch(texts)


def hosted(server, **options):
    pytest.importorskip("openai")
    return OpenAIEmbedding("e", api_base=server.url, max_retries=0, **options)


def documents(count):
    return [Document(text="x" * (i + 1), id_=str(i)) for i in range(count)]


def build(count, embed_model):
    return VectorStoreIndex.from_documents(
        documents(count), embed_model=embed_model, show_progress=True
    )


def abuild(count, embed_model):
    return asyncio.run(
        VectorStoreIndex.afrom_documents(
            documents(count), embed_model=embed_model, show_progress=True
        )
    )


def construct(count, embed_model):
    nodes = [TextNode(text=document.text) for document in documents(count)]
    return VectorStoreIndex(nodes, embed_model=embed_model, show_progress=True)


EVERY_WAY = pytest.mark.parametrize("make", [build, abuild, construct])


def test_each_file_read_rewrites_one_line_of_a_terminal(folder):
    with redirect_stderr(Terminal()) as terminal:
        SimpleDirectoryReader(folder).load_data(show_progress=True)
    assert terminal.getvalue() == (
        "0 of 3 files read\r1 of 3 files read\r2 of 3 files read\r3 of 3 files read\n"
    )


def test_a_log_gets_a_line_at_the_start_and_one_at_the_end(folder, capsys):
    SimpleDirectoryReader(folder).load_data(show_progress=True)
    told = capsys.readouterr()
    assert told.err == "0 of 3 files read\n3 of 3 files read\n"
    assert told.out == ""


def test_the_asynchronous_reader_tells_the_same(folder, capsys):
    asyncio.run(SimpleDirectoryReader(folder).aload_data(show_progress=True))
    assert capsys.readouterr().err == "0 of 3 files read\n3 of 3 files read\n"


def test_only_the_files_that_will_be_read_are_files_found(folder, capsys):
    SimpleDirectoryReader(folder, required_exts=[".md"]).load_data(show_progress=True)
    assert capsys.readouterr().err.endswith("2 of 2 files read\n")


def test_a_skipped_file_is_found_and_not_read(folder, capsys):
    (folder / "b.txt").write_text("")
    with pytest.warns(RagWarning, match="Skipped 1 file"):
        SimpleDirectoryReader(folder).load_data(show_progress=True)
    assert capsys.readouterr().err == "0 of 3 files read\n2 of 3 files read\n"


def test_an_error_finds_the_line_finished(folder):
    (folder / "b.txt").write_text("")
    terminal = Terminal()
    with redirect_stderr(terminal), pytest.raises(DocumentReadError):
        SimpleDirectoryReader(folder, raise_on_error=True).load_data(True)
    assert terminal.counts()[-1] == 1


def test_where_no_file_is_found_the_error_says_so_alone(tmp_path, capsys):
    with pytest.raises(NoDocumentsError):
        SimpleDirectoryReader(tmp_path).load_data(show_progress=True)
    assert capsys.readouterr().err == ""


@EVERY_WAY
def test_each_answer_of_the_server_is_counted(make, server):
    terminal = Terminal()
    terminal.look = lambda: len(server.requests)
    with redirect_stderr(terminal):
        make(23, hosted(server, embed_batch_size=5, num_workers=1))
    assert terminal.counts() == [0, 5, 10, 15, 20, 23]
    # Never ahead of the server, and not all at the end.
    assert terminal.seen == [0, 1, 2, 3, 4, 5, 5]


@EVERY_WAY
def test_requests_on_the_way_at_once_are_counted_as_they_come(make, server):
    with redirect_stderr(Terminal()) as terminal:
        make(23, hosted(server, embed_batch_size=5, num_workers=4))
    counts = terminal.counts()
    steps = [after - before for before, after in pairwise(counts)]
    assert sorted(steps) == [3, 5, 5, 5, 5]
    assert len(server.requests) == 5


@EVERY_WAY
def test_progress_changes_neither_requests_nor_vectors(make, server, capsys):
    shown = make(23, hosted(server, embed_batch_size=5))
    silent = VectorStoreIndex.from_documents(
        documents(23), embed_model=hosted(server, embed_batch_size=5)
    )
    sizes = [len(body["input"]) for _, body in server.requests]
    assert sorted(sizes[:5]) == sorted(sizes[5:]) == [3, 5, 5, 5, 5]
    one, two = (
        [node.text for node in index.as_retriever(23, mode="dense").retrieve("xx")]
        for index in (shown, silent)
    )
    assert one == two
    assert (
        capsys.readouterr().err == "0 of 23 chunks embedded\n23 of 23 chunks embedded\n"
    )


@EVERY_WAY
def test_a_refusal_of_the_server_finds_the_line_finished(make, server):
    server.then(failure(500, "no"))
    terminal = Terminal()
    with redirect_stderr(terminal), pytest.raises(ModelServerError, match="500: no"):
        make(3, hosted(server))
    assert terminal.counts() == [0]


@EVERY_WAY
@pytest.mark.parametrize("kind", [LengthEmbedding, AsyncLengthEmbedding])
def test_any_model_is_counted_by_its_own_batch_size(make, kind):
    model = kind(embed_batch_size=4)
    with redirect_stderr(Terminal()) as terminal:
        assert len(make(10, model).vectors) == 10
    assert terminal.counts() == [0, 4, 8, 10]
    assert model.calls == [4, 4, 2]


@EVERY_WAY
@pytest.mark.parametrize("kind", [LengthEmbedding, AsyncLengthEmbedding])
def test_a_model_without_batches_gets_all_chunks_at_once(make, kind):
    model = kind()
    with redirect_stderr(Terminal()) as terminal:
        make(10, model)
    assert terminal.counts() == [0, 10]
    assert model.calls == [10]


def test_a_model_that_fails_leaves_what_was_embedded_before(capsys):
    nodes = [TextNode(text=text) for text in ("a", "b", "c", "bad", "d")]
    with pytest.raises(ValueError, match="bad text"):
        VectorStoreIndex(
            nodes, embed_model=LengthEmbedding(embed_batch_size=2), show_progress=True
        )
    assert capsys.readouterr().err == (
        "0 of 5 chunks embedded\n2 of 5 chunks embedded\n"
    )


@EVERY_WAY
def test_a_search_by_words_embeds_nothing_and_tells_nothing(make, capsys):
    assert len(make(3, None)) == 3
    assert capsys.readouterr().err == ""


@EVERY_WAY
def test_no_chunks_need_no_line(make, capsys):
    make(0, LengthEmbedding())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("options", [{}, {"show_progress": False}])
def test_nothing_is_told_unless_asked(options, folder, server, capsys):
    reader = SimpleDirectoryReader(folder)
    found = reader.load_data(**options)
    asyncio.run(reader.aload_data(**options))
    for model in (hosted(server), AsyncLengthEmbedding(embed_batch_size=1)):
        index = VectorStoreIndex.from_documents(found, embed_model=model, **options)
        VectorStoreIndex([TextNode(text="x")], embed_model=model, **options)
        asyncio.run(
            VectorStoreIndex.afrom_documents(found, embed_model=model, **options)
        )
        index.insert(Document(text="more"))
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")


def test_nothing_of_an_index_built_aloud_is_told_later(capsys):
    index = build(3, LengthEmbedding())
    capsys.readouterr()
    index.insert(Document(text="more"))
    index.as_retriever().retrieve("x")
    assert capsys.readouterr().err == ""


def test_a_program_without_stderr_works_as_ever(folder, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert len(SimpleDirectoryReader(folder).load_data(show_progress=True)) == 3
