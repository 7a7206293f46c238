"""What importing the RAG rooms brings, and what the errors carry."""

import pickle
import subprocess
import sys

import pytest

from stepwell import rag
from stepwell.rag import errors

HEAVY = ["numpy", "openai", "torch", "transformers", "sentence_transformers"]
ERRORS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.RagError)
]


def test_importing_and_constructing_load_no_vendor():
    code = (
        "import sys, stepwell.rag as rag\n"
        "rag.Settings.llm = rag.OpenAI(model='gpt-4o-mini')\n"
        "rag.Settings.embed_model = rag.OpenAIEmbedding()\n"
        "rag.SentenceTransformerRerank(top_n=5); rag.HuggingFaceEmbedding()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_searching_and_answering_without_a_model_load_no_vendor():
    code = (
        "import sys; from stepwell.rag import *\n"
        "index = VectorStoreIndex.from_documents([Document(text='The sky is blue.')])\n"
        "assert 'blue' in str(index.as_query_engine().query('sky?'))\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("kind", ["OpenAI", "OpenAIEmbedding"])
def test_without_the_openai_library_the_extra_is_named(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "stepwell.rag.openai", raising=False)
    model = getattr(rag, kind)("m", api_base="http://127.0.0.1:9/v1")
    call = model.complete if kind == "OpenAI" else model.get_text_embedding
    with pytest.raises(rag.MissingExtraError, match=r'"stepwell\[rag\]"') as caught:
        call("x")
    assert isinstance(caught.value, ImportError)
    assert (caught.value.package, caught.value.extra) == ("openai", "rag")


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_survives_the_way_to_another_process(kind):
    error = kind("message")
    error.__dict__.update(model="m")
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is kind
    assert str(there) == "message"
    assert there.__dict__ == error.__dict__


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_part_of_the_face(kind):
    assert kind.__name__ in rag.__all__


def test_facts_are_attributes():
    error = errors.ModelServerError("no", model="m", status=429, retry_after=2.0)
    assert (error.model, error.status, error.retry_after) == ("m", 429, 2.0)
    assert isinstance(errors.MissingPathError("x", path="p"), FileNotFoundError)
