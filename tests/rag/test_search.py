"""Finding chunks: by words, by vectors, by both."""

import asyncio
import copy
import pickle
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from stepwell.rag import (
    Document,
    IndexMismatchError,
    InvalidOptionError,
    NodeList,
    NodeWithScore,
    SentenceSplitter,
    Settings,
    TextNode,
    VectorStoreIndex,
)
from stepwell.rag.lexical import LexicalStore
from stepwell.rag.retrieve import fuse

COLOURS = ("red", "green", "blue")


SYNONYMS = {"crimson": "red", "emerald": "green", "navy": "blue"}


class ColourEmbedding:
    """Embeds a text by the colours it names: meaning without words in common."""

    model_name = "colours"

    def __init__(self):
        self.texts = 0

    def get_text_embedding_batch(self, texts):
        self.texts += len(texts)
        return [self.get_query_embedding(text) for text in texts]

    def get_query_embedding(self, query):
        found = [SYNONYMS.get(word, word) for word in query.lower().split()]
        return [float(found.count(colour)) for colour in COLOURS]


def index_of(*texts, **options):
    nodes = [TextNode(text=text, id_=str(i)) for i, text in enumerate(texts)]
    return VectorStoreIndex(nodes, **options)


def texts(nodes):
    return [node.text for node in nodes]


def test_words_find_their_chunk_whatever_their_ending():
    index = index_of("Limits are configured per route.", "Cats sleep.", "Dogs bark.")
    [hit] = index.as_retriever().retrieve("How do I configure a limit?")
    assert hit.text == "Limits are configured per route."
    assert hit.scores == {"bm25": hit.score}


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_valid_question(query):
    index = index_of('a "quoted" AND NEAR(b) text*', "日本語 テキスト", "emoji 🎉 here")
    for node in index.as_retriever().retrieve(query):
        assert node.score > 0


def test_operators_of_the_search_engine_are_searched_for_not_obeyed():
    index = index_of("this AND that", "NOT here", "c++ (and) body:x")
    assert texts(index.as_retriever().retrieve('NOT "')) == ["NOT here"]
    assert texts(index.as_retriever().retrieve("body:x")) == ["c++ (and) body:x"]


def test_chinese_and_japanese_words_are_found_inside_sentences():
    index = index_of("これは日本語の文書です", "这是一个中文文档", "plain english")
    assert texts(index.as_retriever().retrieve("日本語")) == ["これは日本語の文書です"]
    assert texts(index.as_retriever().retrieve("文档"))[0] == "这是一个中文文档"


def test_accents_do_not_matter():
    index = index_of("a naïve café", "something else")
    assert texts(index.as_retriever().retrieve("naive cafe")) == ["a naïve café"]


def test_a_question_of_stop_words_alone_still_searches():
    index = index_of("to be or not", "else")
    assert texts(index.as_retriever().retrieve("to be?")) == ["to be or not"]


def test_nothing_matching_gives_an_empty_list_and_says_so():
    found = index_of("cats").as_retriever().retrieve("quantum")
    assert found == []
    assert "No matching passages for “quantum”" in found._repr_html_()


def test_more_chunks_than_there_are_may_be_asked_for():
    found = index_of("red a", "red b").as_retriever(similarity_top_k=50).retrieve("red")
    assert len(found) == 2


def test_copies_of_a_chunk_come_once():
    index = index_of("red wine", "red wine", "red car")
    assert sorted(texts(index.as_retriever().retrieve("red"))) == [
        "red car",
        "red wine",
    ]


def test_stemming_is_left_out_for_other_languages():
    store = LexicalStore(language=None)
    store.add([TextNode(text="limits", id_="1")])
    assert store.query("limit", 5) == []
    assert [id_ for id_, _ in store.query("LIMITS", 5)] == ["1"]
    store.close()


def test_a_meaning_without_common_words_is_found_with_an_embedding_model():
    index = index_of("a crimson wall", "a navy wall", embed_model=ColourEmbedding())
    found = index.as_retriever(mode="dense").retrieve("red")
    assert texts(found) == ["a crimson wall", "a navy wall"]
    assert found[0].score == pytest.approx(1.0)
    assert found[1].score == pytest.approx(0.0)


def test_auto_is_lexical_without_a_model_and_hybrid_with_one():
    assert index_of("x").as_retriever().mode == "lexical"
    hybrid = index_of("red x", "navy y z", embed_model=ColourEmbedding())
    retriever = hybrid.as_retriever()
    assert retriever.mode == "hybrid"
    found = retriever.retrieve("navy z")
    assert found[0].text == "navy y z"
    assert found[0].score == pytest.approx(1.0)
    assert set(found[0].scores) == {"rrf", "bm25", "dense"}


def test_fusing_weighs_ranks_by_ten_and_sums():
    fused = fuse(one=[("a", 9.0), ("b", 8.0)], two=[("b", 0.5)])
    assert [id_ for id_, _, _ in fused] == ["b", "a"]
    assert fused[0][1] == pytest.approx((11 / 12 + 1) / 2)
    assert fused[1][1] == pytest.approx(1 / 2)


def test_a_mode_that_needs_vectors_says_what_to_do_without():
    with pytest.raises(InvalidOptionError, match=r"Settings\.embed_model"):
        index_of("x").as_retriever(mode="dense")
    with pytest.raises(InvalidOptionError, match="'auto', 'lexical'"):
        index_of("x").as_retriever(mode="fuzzy")
    with pytest.raises(InvalidOptionError, match="similarity_top_k=0"):
        index_of("x").as_retriever(similarity_top_k=0)


def test_filters_choose_by_metadata():
    nodes = [
        TextNode(text=f"red {name}", metadata={"file_name": name})
        for name in ("a", "b", "c")
    ]
    index = VectorStoreIndex(nodes, embed_model=ColourEmbedding())
    one = index.as_retriever(filters={"file_name": "b"}).retrieve("red")
    assert texts(one) == ["red b"]
    two = index.as_retriever(filters={"file_name": ["a", "c"]}, mode="dense")
    assert sorted(texts(two.retrieve("red"))) == ["red a", "red c"]


def test_a_least_score_leaves_the_rest_out():
    index = index_of("crimson", "navy", embed_model=ColourEmbedding())
    found = index.as_retriever(mode="dense", min_score=0.5).retrieve("red")
    assert texts(found) == ["crimson"]


def test_settings_give_the_model_where_none_is_passed():
    Settings.embed_model = model = ColourEmbedding()
    index = VectorStoreIndex.from_documents([Document(text="crimson")])
    assert model.texts == 1
    assert index.as_retriever().mode == "hybrid"


def test_aretrieve_gives_the_same():
    index = index_of("crimson red", "navy red", embed_model=ColourEmbedding())
    retriever = index.as_retriever()
    assert asyncio.run(retriever.aretrieve("red")) == retriever.retrieve("red")


def test_afrom_documents_gives_the_same():
    documents = [Document(text="# A\n\nred", id_="1"), Document(text="blue", id_="2")]
    options = {"embed_model": ColourEmbedding()}
    one = VectorStoreIndex.from_documents(documents, **options)
    two = asyncio.run(VectorStoreIndex.afrom_documents(documents, **options))
    assert one.nodes == two.nodes
    found = two.as_retriever(mode="dense").retrieve("navy")
    assert found[0].text == "blue"


def test_blocking_embedders_leave_the_event_loop_free():
    began, may_end = threading.Event(), threading.Event()

    class Slow(ColourEmbedding):
        def get_query_embedding(self, query):
            if query == "slow":
                began.set()
                assert may_end.wait(30)
            return super().get_query_embedding(query)

    retriever = index_of("red", embed_model=Slow()).as_retriever()

    async def other():
        # Runs only if the loop is free while the embedder blocks its thread.
        while not began.is_set():
            await asyncio.sleep(0)
        may_end.set()

    async def main():
        await asyncio.gather(retriever.aretrieve("slow"), other())

    asyncio.run(main())
    assert may_end.is_set()


def test_a_document_inserted_again_replaces_its_chunks():
    index = VectorStoreIndex.from_documents(
        [Document(text="# A\n\nred\n\n# B\n\ngreen", id_="d")],
        embed_model=ColourEmbedding(),
    )
    assert len(index) == 2
    index.insert(Document(text="blue", id_="d"))
    assert texts(index.as_retriever().retrieve("red green blue")) == ["blue"]
    assert len(index.vectors) == len(index.lexical) == len(index) == 1


def test_a_deleted_document_is_gone_from_words_and_vectors():
    documents = [Document(text="red", id_="1"), Document(text="crimson", id_="2")]
    index = VectorStoreIndex.from_documents(documents, embed_model=ColourEmbedding())
    index.delete_ref_doc("1")
    index.delete_ref_doc("unknown")
    assert texts(index.as_retriever().retrieve("red")) == ["crimson"]
    asyncio.run(index.ainsert(Document(text="red again", id_="1")))
    assert len(index.as_retriever().retrieve("red")) == 2


def test_vectors_of_another_length_are_refused_and_change_nothing():
    index = index_of("red", embed_model=ColourEmbedding())
    index.embed_model.get_text_embedding_batch = lambda texts: [[1.0, 2.0]]
    with pytest.raises(IndexMismatchError, match="3 dimensions and got 2") as caught:
        index.insert(Document(text="blue"))
    assert (caught.value.expected, caught.value.got) == (3, 2)
    assert len(index) == len(index.lexical) == 1


def test_a_model_that_returns_too_few_vectors_is_an_error():
    model = ColourEmbedding()
    model.get_text_embedding_batch = lambda texts: [[1.0, 2.0, 3.0]]
    with pytest.raises(IndexMismatchError, match="1 vectors for 2 texts"):
        index_of("a", "b", embed_model=model)


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda i: pickle.loads(pickle.dumps(i))]
)
def test_an_index_can_travel_to_another_process(again):
    index = index_of("red wine", "navy sea", embed_model=ColourEmbedding())
    there = again(index)
    for query in ("wine", "blue"):
        retrieved = there.as_retriever().retrieve(query)
        assert retrieved == index.as_retriever().retrieve(query)


def test_an_index_is_searched_from_several_threads():
    index = index_of(*(f"red number {i}" for i in range(50)))
    found = []

    def search():
        for _ in range(20):
            found.append(len(index.as_retriever(7).retrieve("red number 3")))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [7] * 80


def test_an_empty_index_finds_nothing():
    assert VectorStoreIndex().as_retriever().retrieve("x") == []
    empty = VectorStoreIndex(embed_model=ColourEmbedding())
    assert empty.as_retriever(mode="dense").retrieve("red") == []


def test_a_splitter_of_ones_own_is_used():
    index = VectorStoreIndex.from_documents(
        [Document(text="One sentence. " * 50)],
        transformations=[SentenceSplitter(chunk_size=20)],
    )
    assert len(index) > 5


def test_a_slice_of_what_was_found_is_still_shown_as_a_table():
    found = index_of("red a", "red b").as_retriever().retrieve("red")
    assert isinstance(found[:1], NodeList)
    assert found[:1].query == "red"


def test_nodes_travel_in_an_event_and_over_json():
    class RetrievedEvent(BaseModel):
        nodes: list = Field(default_factory=list)

    found = index_of("red a").as_retriever().retrieve("red")
    event = RetrievedEvent(nodes=found)
    assert [n.text for n in event.nodes] == ["red a"]
    assert event.nodes[0].metadata == {}
    there = NodeWithScore.model_validate_json(found[0].model_dump_json())
    assert there == found[0]


def test_a_misspelt_field_of_a_document_is_refused():
    with pytest.raises(ValidationError, match="txt"):
        Document(txt="x")


def test_a_question_that_is_no_text_is_refused():
    with pytest.raises(InvalidOptionError, match="must be a text, not int"):
        index_of("x").as_retriever().retrieve(3)
