"""What an index of 100,000 chunks costs, beside the bare numpy product.

    python benchmarks/rag.py
    python benchmarks/rag.py --chunks 10000 --dim 384

Prints a line for each figure, with what is to be reached. Needs `stepwell[rag]`. Times
are medians, and where a target is a ratio both sides are timed in turn, in one
process: a noisy machine is noisy for both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

from stepwell.rag import CachedEmbedding, Settings, TextNode, VectorStoreIndex
from stepwell.rag.numpy import NumpyVectorStore

K = 15


class Prepared:
    """An embedding model that has all vectors ready; a text is its number."""

    model_name = "prepared"
    cache_key = "prepared"
    embed_batch_size = 1_000

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def get_text_embedding_batch(self, texts):
        if len(texts) == len(self.vectors):
            return self.vectors
        return self.vectors[[int(text.split()[1]) for text in texts]]

    def get_query_embedding(self, query):
        return self.vectors[int(query.split()[1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    n, dim = options.chunks, options.dim
    vectors = np.random.default_rng(7).normal(size=(n, dim)).astype(np.float32)
    ids = [f"chunk:{number}" for number in range(n)]
    print(
        f"{n:,} x {dim}, {4 * n * dim / 2**20:.0f} MiB; k = {K}; {os.cpu_count()} cores"
    )
    building(ids, vectors)
    searching(ids, vectors, options.rounds)
    files(ids, vectors)


def building(ids, vectors) -> None:
    """How much memory is taken beside the vectors that are given."""
    tracemalloc.start()
    store = NumpyVectorStore()
    store.add(ids, vectors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The ids' table is not the matrix; it is in here all the same.
    show("peak of building, in matrices", peak / vectors.nbytes, most=2.0)
    assert len(store) == len(ids)


def searching(ids, vectors, rounds) -> None:
    store = NumpyVectorStore()
    store.add(ids, vectors)
    matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    questions = np.random.default_rng(8).normal(size=(32, vectors.shape[1]))
    questions = questions.astype(np.float32)

    def bare(question):
        scores = matrix @ question
        return np.argpartition(scores, len(scores) - K)[-K:]

    bares, ours = [], []
    for turn in range(rounds):
        question = questions[turn % 32]
        bares.append(timed(bare, question))
        ours.append(timed(store.query, question, K))
    assert {ids[row] for row in bare(question)} == {
        id_ for id_, _ in store.query(question, K)
    }
    show("bare product and argpartition, ms", 1000 * statistics.median(bares))
    show("query, ms", 1000 * statistics.median(ours))
    pairs = [our / other for our, other in zip(ours, bares, strict=True)]
    show("query, in bare ones", statistics.median(pairs), most=1.3)
    batches = [timed(store.query_batch, questions, K) for _ in range(rounds // 8)]
    show("query of 32 at once, ms each", 1000 * statistics.median(batches) / 32)
    allowed = set(ids[::10])
    some = [timed(store.query, questions[0], K, allowed=allowed) for _ in range(9)]
    show("query among a tenth of the chunks, ms", 1000 * statistics.median(some))


def files(ids, vectors) -> None:
    """An index with words: built, written, read, and built again from the cache."""
    words = [f"w{number}" for number in range(5_000)]
    draw = np.random.default_rng(9).integers(0, len(words), (len(ids), 100))
    nodes = [
        TextNode(
            text=f"chunk {number} " + " ".join(words[i] for i in row),
            id_=id_,
            ref_doc_id=f"document {number // 20}",
        )
        for number, (id_, row) in enumerate(zip(ids, draw, strict=True))
    ]
    model = Prepared(vectors)
    with tempfile.TemporaryDirectory() as folder:
        Settings.cache_dir = None
        began = time.perf_counter()
        index = VectorStoreIndex(nodes, embed_model=model)
        show("building an index with words, s", time.perf_counter() - began)
        file = Path(folder) / "index"
        show("persist, s", timed(index.persist, file))
        show("file, MB", file.stat().st_size / 1e6)
        began = time.perf_counter()
        loaded = VectorStoreIndex.load(file, embed_model=model)
        show("load, s", time.perf_counter() - began)
        ask = loaded.as_retriever(K, mode="dense").retrieve
        assert ask("chunk 7") == index.as_retriever(K, mode="dense").retrieve("chunk 7")
        show("aload, longest gap of the loop, ms", 1000 * longest_gap(file, model))
        texts = [node.text for node in nodes]
        cached = CachedEmbedding(model, Path(folder) / "cache")
        show("cache, all new, s", timed(cached.get_text_embedding_batch, texts))
        show("cache, all known, s", timed(cached.get_text_embedding_batch, texts))
        assert (cached.hits, cached.misses) == (len(texts), len(texts))


def longest_gap(file, model) -> float:
    async def measure() -> float:
        loading = asyncio.ensure_future(VectorStoreIndex.aload(file, embed_model=model))
        longest, last = 0.0, time.perf_counter()
        while not loading.done():
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        await loading
        return longest

    return asyncio.run(measure())


def timed(work, *arguments, **options) -> float:
    began = time.perf_counter()
    work(*arguments, **options)
    return time.perf_counter() - began


def show(what: str, value: float, most: float | None = None) -> None:
    target = ""
    if most is not None:
        verdict = "met" if value <= most else "MISSED"
        target = f"   at most {most}: {verdict}"
    print(f"{what:42} {value:10.3f}{target}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
