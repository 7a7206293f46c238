"""An index written to one file, read again, and kept up to date."""

import asyncio
import copy
import pickle
import sqlite3
import threading

import pytest

from stepwell.rag import (
    Document,
    IndexFileError,
    IndexMismatchError,
    InvalidOptionError,
    InvalidVectorError,
    MissingPathError,
    RagWarning,
    SentenceSplitter,
    Settings,
    TextNode,
    VectorStoreIndex,
)
from stepwell.testing import FakeEmbedding

QUESTIONS = ("red", "navy sea", "日本語", "nothing of the kind")


class Named(FakeEmbedding):
    model_name = "a/model"


def documents(*texts):
    return [Document(text=text, id_=str(n)) for n, text in enumerate(texts)]


COLOURS = documents("# A\n\nred wine\n\n# B\n\nred car", "navy sea", "日本語 テキスト")


def answers(index, **options):
    retriever = index.as_retriever(5, **options)
    return [retriever.retrieve(question) for question in QUESTIONS]


def persisted(way, index, path):
    if way == "sync":
        return index.persist(path)
    return asyncio.run(index.apersist(path))


def loaded(way, path, **options):
    if way == "sync":
        return VectorStoreIndex.load(path, **options)
    return asyncio.run(VectorStoreIndex.aload(path, **options))


def refreshed(way, index, changed):
    if way == "sync":
        return index.refresh_ref_docs(changed)
    return asyncio.run(index.arefresh_ref_docs(changed))


BOTH = pytest.mark.parametrize("way", ["sync", "async"])


@BOTH
@pytest.mark.parametrize("model", [None, Named()])
def test_an_index_comes_back_as_it_was_and_embeds_nothing(tmp_path, way, model):
    one = VectorStoreIndex.from_documents(COLOURS, embed_model=model)
    path = tmp_path / "new folder" / "my index?.sqlite"
    persisted(way, one, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    embedded = 0 if model is None else len(model.texts)
    two = loaded(way, path, embed_model=model)
    assert two.nodes == one.nodes
    assert list(two.nodes) == list(one.nodes)
    assert answers(two) == answers(one)
    assert model is None or len(model.texts) == embedded
    assert repr(two) == repr(one)


def test_a_loaded_index_can_be_changed_and_written_again(tmp_path):
    path = tmp_path / "index"
    VectorStoreIndex.from_documents(COLOURS, embed_model=Named()).persist(path)
    index = VectorStoreIndex.load(path, embed_model=Named())
    index.insert(Document(text="green tea", id_="new"))
    index.delete_ref_doc("0")
    index.persist(path)
    again = VectorStoreIndex.load(path, embed_model=Named())
    assert answers(again, mode="lexical") == answers(index, mode="lexical")
    assert again.as_retriever(1).retrieve("green tea")[0].text == "green tea"
    assert sorted(node.text for node in again.nodes.values()) == [
        "green tea",
        "navy sea",
        "日本語 テキスト",
    ]


@pytest.mark.parametrize("model", [None, Named()])
def test_an_empty_index_comes_back(tmp_path, model):
    VectorStoreIndex(embed_model=model).persist(tmp_path / "i")
    index = VectorStoreIndex.load(tmp_path / "i", embed_model=model)
    assert answers(index) == [[]] * 4
    index.insert(COLOURS[1])
    assert len(index.as_retriever().retrieve("sea")) == 1


def test_words_of_another_language_stay_unstemmed(tmp_path):
    VectorStoreIndex.from_documents(documents("limits"), language=None).persist(
        tmp_path / "i"
    )
    index = VectorStoreIndex.load(tmp_path / "i")
    assert index.as_retriever().retrieve("limit") == []
    assert len(index.as_retriever().retrieve("limits")) == 1


def test_words_that_this_sqlite_cannot_go_on_with_are_indexed_anew(tmp_path):
    one = VectorStoreIndex.from_documents(COLOURS)
    one.persist(tmp_path / "i")
    with sqlite3.connect(tmp_path / "i") as db:
        db.execute("update words set part = zeroblob(4096)")
    db.close()
    assert answers(VectorStoreIndex.load(tmp_path / "i")) == answers(one)


@BOTH
def test_another_model_is_refused_by_name(tmp_path, way):
    class Other(FakeEmbedding):
        model_name = "b/other"

    path = tmp_path / "i"
    VectorStoreIndex.from_documents(COLOURS, embed_model=Named()).persist(path)
    with pytest.raises(IndexMismatchError, match="'a/model' \\(64 dim") as caught:
        loaded(way, path, embed_model=Other())
    assert "'b/other'" in str(caught.value)
    assert caught.value.expected == 64
    with pytest.raises(IndexMismatchError, match="no model is given"):
        loaded(way, path)
    Settings.embed_model = Named()
    assert len(loaded(way, path)) == 4


def test_other_dimensions_are_refused_at_the_first_question(tmp_path):
    path = tmp_path / "i"
    VectorStoreIndex.from_documents(COLOURS, embed_model=Named()).persist(path)
    index = VectorStoreIndex.load(path, embed_model=Named(dim=3))
    with pytest.raises(IndexMismatchError, match="64 dimensions and got 3"):
        index.as_retriever().retrieve("red")
    with pytest.raises(IndexMismatchError, match="64 dimensions and got 3"):
        index.insert(Document(text="x"))
    assert len(index) == 4


def test_of_a_model_in_a_folder_the_name_of_the_folder_counts(tmp_path):
    here, there = Named(), Named()
    here.model_name, there.model_name = "/home/me/minilm", "/srv/models/minilm"
    VectorStoreIndex.from_documents(COLOURS, embed_model=here).persist(tmp_path / "i")
    assert len(VectorStoreIndex.load(tmp_path / "i", embed_model=there)) == 4


def test_words_alone_need_no_model(tmp_path):
    VectorStoreIndex.from_documents(COLOURS, embed_model=Named()).persist(
        tmp_path / "i"
    )
    index = VectorStoreIndex.load(tmp_path / "i", words_only=True)
    assert index.as_retriever().mode == "lexical"
    assert answers(index) == answers(VectorStoreIndex.from_documents(COLOURS))


def test_an_index_of_words_takes_no_model_that_happens_to_be_set(tmp_path):
    VectorStoreIndex.from_documents(COLOURS).persist(tmp_path / "i")
    Settings.embed_model = model = Named()
    assert VectorStoreIndex.load(tmp_path / "i").as_retriever().mode == "lexical"
    with pytest.raises(IndexMismatchError, match="without an embedding model"):
        VectorStoreIndex.load(tmp_path / "i", embed_model=model)
    assert model.texts == []


def test_a_file_that_is_not_there_says_how_one_is_written(tmp_path):
    with pytest.raises(MissingPathError, match=r"index\.persist\(path\)") as caught:
        VectorStoreIndex.load(tmp_path / "none")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(MissingPathError, match="is a folder"):
        VectorStoreIndex.load(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no index " * 1000, b"SQLite format 3\0"])
def test_a_file_that_holds_no_index_is_refused(tmp_path, content):
    (tmp_path / "i").write_bytes(content)
    with pytest.raises(IndexFileError, match="holds no index") as caught:
        VectorStoreIndex.load(tmp_path / "i")
    assert caught.value.path == str(tmp_path / "i")


@pytest.mark.parametrize(
    "damage",
    [
        "delete from node where number = 2",
        "update node set node = '{}x'",
        "delete from vectors",
        "update vectors set numbers = numbers || numbers",
        "update vectors set numbers = zeroblob(7)",
        "drop table vectors",
    ],
)
def test_a_damaged_index_is_refused(tmp_path, damage):
    path = tmp_path / "i"
    VectorStoreIndex.from_documents(COLOURS, embed_model=Named()).persist(path)
    with sqlite3.connect(path) as db:
        db.execute(damage)
    db.close()
    with pytest.raises(IndexFileError, match="is damaged"):
        VectorStoreIndex.load(path, embed_model=Named())


def test_a_file_cut_off_is_refused(tmp_path):
    path = tmp_path / "i"
    VectorStoreIndex.from_documents(COLOURS, embed_model=Named()).persist(path)
    whole = path.read_bytes()
    for share in (0.2, 0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(IndexFileError):
            VectorStoreIndex.load(path, embed_model=Named())


def test_a_file_of_a_later_version_says_so(tmp_path):
    VectorStoreIndex.from_documents(COLOURS).persist(tmp_path / "i")
    with sqlite3.connect(tmp_path / "i") as db:
        db.execute("update fact set value = 99 where name = 'format'")
    db.close()
    with pytest.raises(IndexFileError, match="another version of stepwell"):
        VectorStoreIndex.load(tmp_path / "i")


def test_a_failed_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "i"
    VectorStoreIndex.from_documents(COLOURS).persist(path)
    before = path.read_bytes()
    index = VectorStoreIndex([TextNode(text="x", id_="n", metadata={"a": object()})])
    with pytest.raises(InvalidOptionError, match="metadata of chunk 'n'"):
        index.persist(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_no_place_for_an_index(tmp_path):
    with pytest.raises(InvalidOptionError, match="is a folder"):
        VectorStoreIndex.from_documents(COLOURS).persist(tmp_path)


def test_an_index_may_be_written_while_it_is_changed(tmp_path):
    index = VectorStoreIndex.from_documents(COLOURS, embed_model=Named())
    errors = []

    def change():
        try:
            for n in range(30):
                index.insert(Document(text=f"red {n}", id_="changing"))
                index.delete_ref_doc("changing")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    for _ in range(10):
        index.persist(tmp_path / "i")
        loaded = VectorStoreIndex.load(tmp_path / "i", embed_model=Named())
        assert len(loaded) in {4, 5}
        assert len(loaded.vectors) == len(loaded.lexical) == len(loaded)
    thread.join()
    assert errors == []


# ------------------------------------------------------------ up to date


@BOTH
def test_refreshing_embeds_what_is_new_or_changed_and_nothing_else(way):
    model = Named()
    index = VectorStoreIndex.from_documents(COLOURS, embed_model=model)
    model.texts.clear()
    assert refreshed(way, index, COLOURS) == [False, False, False]
    assert model.texts == []
    changed = [
        Document(text="# A\n\nred wine\n\n# B\n\nblue car", id_="0"),
        COLOURS[1],
        Document(text="entirely new", id_="9"),
    ]
    assert refreshed(way, index, changed) == [True, False, True]
    assert sorted(model.texts) == ["# B\n\nblue car", "entirely new"]
    assert "blue car" in index.as_retriever(1).retrieve("blue car")[0].text
    assert not any("red car" in node.text for node in index.nodes.values())


def test_a_document_that_became_shorter_or_empty_leaves_nothing_behind():
    index = VectorStoreIndex.from_documents(COLOURS, embed_model=Named())
    assert index.refresh_ref_docs([Document(text="red", id_="0")]) == [True]
    assert len(index) == len(index.vectors) == len(index.lexical) == 3
    assert index.refresh_ref_docs([Document(text="", id_="0")]) == [True]
    assert len(index) == len(index.vectors) == len(index.lexical) == 2
    assert index.refresh_ref_docs([Document(text="", id_="0")]) == [False]


def test_changed_metadata_counts_as_a_change():
    index = VectorStoreIndex.from_documents(documents("red"))
    [changed] = documents("red")
    changed.metadata["year"] = 2026
    assert index.refresh_ref_docs([changed]) == [True]
    assert len(index.as_retriever(filters={"year": 2026}).retrieve("red")) == 1


def test_refreshing_a_loaded_index_finds_nothing_to_do(tmp_path):
    VectorStoreIndex.from_documents(COLOURS, embed_model=Named()).persist(
        tmp_path / "i"
    )
    index = VectorStoreIndex.load(tmp_path / "i", embed_model=Named())
    assert index.refresh_ref_docs(COLOURS) == [False] * 3


def test_what_is_inserted_later_is_cut_as_the_rest():
    splitter = SentenceSplitter(chunk_size=8)
    index = VectorStoreIndex.from_documents([], transformations=[splitter])
    index.insert(Document(text="One sentence. " * 30, id_="d"))
    assert len(index) > 5


@BOTH
def test_a_failed_refresh_changes_nothing(way):
    model = Named()
    index = VectorStoreIndex.from_documents(COLOURS, embed_model=model)
    before = answers(index)
    model.get_text_embedding_batch = lambda texts: [[float("nan")] * 64] * len(texts)
    with pytest.raises(InvalidVectorError, match="the chunk '1:0'"):
        refreshed(way, index, [Document(text="green", id_="1")])
    del model.get_text_embedding_batch
    assert answers(index) == before


def test_the_same_document_twice_is_one():
    index = VectorStoreIndex.from_documents([*COLOURS, *COLOURS], embed_model=Named())
    assert len(index) == len(index.vectors) == len(index.lexical) == 4


def test_of_documents_with_one_id_the_last_is_taken_and_that_is_said():
    two = [Document(text="red", id_="x"), Document(text="blue", id_="x")]
    with pytest.warns(RagWarning, match="same id and are not the same: 'x'"):
        index = VectorStoreIndex.from_documents(two, embed_model=Named())
    assert [node.text for node in index.nodes.values()] == ["blue"]
    assert len(index.vectors) == len(index.lexical) == 1


def test_a_store_without_texts_cannot_be_opened():
    index = VectorStoreIndex.from_documents(COLOURS, embed_model=Named())
    with pytest.raises(InvalidOptionError, match="methods of NodeVectorStore"):
        VectorStoreIndex.from_vector_store(index.vectors, embed_model=Named())


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda i: pickle.loads(pickle.dumps(i))]
)
def test_an_index_that_was_loaded_and_changed_travels(tmp_path, again):
    VectorStoreIndex.from_documents(COLOURS, embed_model=Named()).persist(
        tmp_path / "i"
    )
    index = VectorStoreIndex.load(tmp_path / "i", embed_model=Named())
    index.insert(Document(text="green tea", id_="n"))
    there = again(index)
    assert answers(there) == answers(index)
    there.delete_ref_doc("n")
    assert (len(there), len(index)) == (4, 5)
    assert len(there.vectors) == len(there.lexical) == 4
