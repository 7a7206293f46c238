"""Which chunks a search may find, by their metadata."""

import asyncio
import datetime

import pytest
from pydantic import ValidationError

from stepwell.rag import (
    FilterCondition,
    FilterOperator,
    InvalidOptionError,
    MetadataFilter,
    MetadataFilters,
    TextNode,
    VectorStoreIndex,
)
from stepwell.testing import FakeEmbedding

ROWS = {
    "guide": {"kind": "md", "year": 2024, "tags": ["a", "b"], "draft": False},
    "manual": {"kind": "pdf", "year": 2026, "tags": ["b"], "author": "Ann Lee"},
    "notes": {"kind": "md", "year": "2025", "tags": [], "author": ""},
    "bare": {},
}


@pytest.fixture(params=["words", "vectors"])
def found_by(request):
    """Names of the chunks that pass a filter, by searching for a word all have."""
    nodes = [
        TextNode(text=f"word {name}", id_=name, metadata=metadata)
        for name, metadata in ROWS.items()
    ]
    model = FakeEmbedding() if request.param == "vectors" else None
    index = VectorStoreIndex(nodes, embed_model=model)

    def find(filters):
        retriever = index.as_retriever(9, filters=filters)
        nodes = retriever.retrieve("word")
        assert asyncio.run(retriever.aretrieve("word")) == nodes
        return {node.id_ for node in nodes}

    return find


def one(key, operator, value=None):
    return MetadataFilters(
        filters=[MetadataFilter(key=key, value=value, operator=operator)]
    )


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"kind": "md"}, {"guide", "notes"}),
        ({"kind": ["pdf", "md"], "year": 2024}, {"guide"}),
        ({"kind": ("pdf", "txt")}, {"manual"}),
        ({}, set(ROWS)),
        (None, set(ROWS)),
        ({"kind": []}, set()),
        (MetadataFilter(key="kind", value="md"), {"guide", "notes"}),
        (one("kind", "==", "md"), {"guide", "notes"}),
        (one("kind", "!=", "md"), {"manual", "bare"}),
        (one("year", ">", 2024), {"manual"}),
        (one("year", ">=", 2024), {"guide", "manual"}),
        (one("year", "<", 2026), {"guide"}),
        (one("year", "<=", 2026), {"guide", "manual"}),
        (one("year", "<", "2026"), {"notes"}),
        (one("kind", "in", ["pdf"]), {"manual"}),
        (one("kind", "nin", ["pdf"]), {"guide", "notes", "bare"}),
        (one("tags", "in", [["b"]]), {"manual"}),
        (one("tags", "contains", "b"), {"guide", "manual"}),
        (one("tags", "any", ["a", "x"]), {"guide"}),
        (one("tags", "all", ["a", "b"]), {"guide"}),
        (one("author", "text_match", "Lee"), {"manual"}),
        (one("author", "text_match", "lee"), set()),
        (one("author", "text_match_insensitive", "lee"), {"manual"}),
        (one("author", "is_empty"), {"guide", "notes", "bare"}),
        (one("draft", "==", False), {"guide"}),
    ],
)
def test_chunks_are_chosen_by_their_metadata(found_by, filters, names):
    assert found_by(filters) == names


def test_filters_combine(found_by):
    markdown = MetadataFilter(key="kind", value="md")
    recent = MetadataFilter(key="year", value=2025, operator=FilterOperator.GTE)
    both = [markdown, recent]
    assert found_by(MetadataFilters(filters=both)) == set()
    either = MetadataFilters(filters=both, condition=FilterCondition.OR)
    assert found_by(either) == {"guide", "notes", "manual"}
    neither = MetadataFilters(filters=both, condition="not")
    assert found_by(neither) == {"bare"}
    nested = MetadataFilters(
        filters=[either, MetadataFilter(key="tags", value="b", operator="contains")]
    )
    assert found_by(nested) == {"guide", "manual"}


def test_dates_are_compared():
    wanted = MetadataFilter(key="on", value=datetime.date(2026, 1, 1), operator=">=")
    assert wanted.matches({"on": datetime.date(2026, 5, 1)})
    assert not wanted.matches({"on": "2026-05-01"})


def test_filters_travel_as_json():
    filters = MetadataFilters(
        filters=[
            MetadataFilter(key="a", value=1, operator=">"),
            MetadataFilters(filters=[MetadataFilter(key="b")], condition="not"),
        ]
    )
    there = MetadataFilters.model_validate_json(filters.model_dump_json())
    assert there == filters


def test_what_is_no_filter_is_refused():
    index = VectorStoreIndex([TextNode(text="x")])
    with pytest.raises(InvalidOptionError, match="takes a dictionary such as"):
        index.as_retriever(filters="guide.md")
    with pytest.raises(ValidationError, match="'in' on 'kind' needs a list"):
        MetadataFilter(key="kind", value="md", operator="in")
    with pytest.raises(ValidationError, match="'=='"):
        MetadataFilter(key="kind", value="md", operator="=~")
