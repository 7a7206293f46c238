"""Documents, search and answers, for use in workflow steps and notebooks.

Runs with no key and no network: search is by words, answers are quotes. Set
`Settings.llm` and `Settings.embed_model` for more. This file is the face: what
stands in `__all__` is promised. It imports no vendor's library: files that bear
a vendor's name are imported by the first call that needs them.
"""

from __future__ import annotations

from .answer import QueryEngine
from .base import (
    LLM,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    Embedding,
    NodePostprocessor,
    NodeVectorStore,
    ToolSelection,
    Usage,
    VectorStore,
)
from .display import show_nodes
from .diversity import MMR
from .documents import Document, DocumentList, NodeList, NodeWithScore, TextNode
from .embedding_cache import CachedEmbedding, EmbeddingCache
from .errors import (
    DocumentReadError,
    IndexFileError,
    IndexMismatchError,
    InvalidOptionError,
    InvalidVectorError,
    MaxIterationsError,
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
    StructuredOutputError,
    VectorStoreError,
)
from .evaluation import acompare, aevaluate, compare, evaluate
from .expansion import ExpandContext
from .extractive import ExtractiveLLM
from .filters import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from .index import VectorStoreIndex
from .lancedb_store import LanceDBVectorStore
from .local import HuggingFaceEmbedding, SentenceTransformerRerank
from .openai_embedding import OpenAIEmbedding
from .openai_llm import OpenAI
from .pgvector import PGVectorStore
from .questions import Gold, Question, load_questions, questions_from_headings
from .readers import SimpleDirectoryReader, Skipped
from .reports import EvaluationComparison, EvaluationReport
from .rerank import LexicalRerank
from .response import AsyncStreamingResponse, Response, StreamingResponse
from .retrieve import Retriever
from .rewriting import HyDERetriever, QueryFusionRetriever
from .settings import Settings
from .splitting import SentenceSplitter
from .streams import ResponseStream
from .structured import StructuredLLM
from .tools import (
    FunctionTool,
    QueryEngineTool,
    ToolOutput,
    acall_tool,
    as_tools,
    call_tool,
)
from .usage import ModelUsage, UsageTotals, count_usage, track_usage

__all__ = [
    "LLM",
    "MMR",
    "AsyncStreamingResponse",
    "CachedEmbedding",
    "ChatMessage",
    "ChatResponse",
    "CompletionResponse",
    "Document",
    "DocumentList",
    "DocumentReadError",
    "Embedding",
    "EmbeddingCache",
    "EvaluationComparison",
    "EvaluationReport",
    "ExpandContext",
    "ExtractiveLLM",
    "FilterCondition",
    "FilterOperator",
    "FunctionTool",
    "Gold",
    "HuggingFaceEmbedding",
    "HyDERetriever",
    "IndexFileError",
    "IndexMismatchError",
    "InvalidOptionError",
    "InvalidVectorError",
    "LanceDBVectorStore",
    "LexicalRerank",
    "MaxIterationsError",
    "MetadataFilter",
    "MetadataFilters",
    "MissingAPIKeyError",
    "MissingExtraError",
    "MissingPathError",
    "ModelServerError",
    "ModelTimeoutError",
    "ModelUnavailableError",
    "ModelUsage",
    "NoDocumentsError",
    "NoLLMConfiguredError",
    "NodeList",
    "NodePostprocessor",
    "NodeVectorStore",
    "NodeWithScore",
    "OpenAI",
    "OpenAIEmbedding",
    "PGVectorStore",
    "QueryEngine",
    "QueryEngineTool",
    "QueryFusionRetriever",
    "Question",
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
    "StreamingResponse",
    "StructuredLLM",
    "StructuredOutputError",
    "TextNode",
    "ToolOutput",
    "ToolSelection",
    "Usage",
    "UsageTotals",
    "VectorStore",
    "VectorStoreError",
    "VectorStoreIndex",
    "acall_tool",
    "acompare",
    "aevaluate",
    "as_tools",
    "call_tool",
    "compare",
    "count_usage",
    "evaluate",
    "load_questions",
    "questions_from_headings",
    "show_nodes",
    "track_usage",
]
