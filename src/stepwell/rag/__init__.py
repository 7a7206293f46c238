"""Documents, search and answers, for use in workflow steps and notebooks.

Runs with no key and no network: search is by words, answers are quotes. Set
`Settings.llm` and `Settings.embed_model` for more. This file is the face: what
stands in `__all__` is promised. It imports no vendor's library: files that bear
a vendor's name are imported by the first call that needs them.
"""

from __future__ import annotations

from .answer import QueryEngine, Response
from .base import (
    LLM,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    Embedding,
    NodePostprocessor,
    Usage,
    VectorStore,
)
from .display import show_nodes
from .documents import Document, NodeList, NodeWithScore, TextNode
from .errors import (
    DocumentReadError,
    IndexMismatchError,
    InvalidOptionError,
    MissingAPIKeyError,
    MissingExtraError,
    MissingPathError,
    ModelServerError,
    ModelTimeoutError,
    ModelUnavailableError,
    NoDocumentsError,
    NoLLMConfiguredError,
    RagError,
    RagWarning,
)
from .extractive import ExtractiveLLM
from .index import VectorStoreIndex
from .local import HuggingFaceEmbedding, SentenceTransformerRerank
from .openai_embedding import OpenAIEmbedding
from .openai_llm import OpenAI
from .readers import SimpleDirectoryReader, Skipped
from .rerank import LexicalRerank
from .retrieve import Retriever
from .settings import Settings
from .splitting import SentenceSplitter
from .streams import ResponseStream

__all__ = [
    "LLM",
    "ChatMessage",
    "ChatResponse",
    "CompletionResponse",
    "Document",
    "DocumentReadError",
    "Embedding",
    "ExtractiveLLM",
    "HuggingFaceEmbedding",
    "IndexMismatchError",
    "InvalidOptionError",
    "LexicalRerank",
    "MissingAPIKeyError",
    "MissingExtraError",
    "MissingPathError",
    "ModelServerError",
    "ModelTimeoutError",
    "ModelUnavailableError",
    "NoDocumentsError",
    "NoLLMConfiguredError",
    "NodeList",
    "NodePostprocessor",
    "NodeWithScore",
    "OpenAI",
    "OpenAIEmbedding",
    "QueryEngine",
    "RagError",
    "RagWarning",
    "Response",
    "ResponseStream",
    "Retriever",
    "SentenceSplitter",
    "SentenceTransformerRerank",
    "Settings",
    "SimpleDirectoryReader",
    "Skipped",
    "TextNode",
    "Usage",
    "VectorStore",
    "VectorStoreIndex",
    "show_nodes",
]
