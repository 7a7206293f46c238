"""The graph of a workflow as data."""

import json
from typing import Annotated

from pydantic import BaseModel

from stepwell import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    Resource,
    ResourceConfig,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowGenericNode,
    WorkflowGraph,
    WorkflowGraphEdge,
    get_workflow_representation,
    step,
)


class Found(Event):
    """What a search gave."""

    text: str


class Limits(BaseModel):
    tokens: int


class Client:
    pass


def settings() -> str:
    return "local"


def client(where: Annotated[str, Resource(settings)]) -> Client:
    """Connects to the index."""
    return Client()


def searching(config_file: str = "limits.json") -> type[Workflow]:
    class Searching(Workflow):
        """Searches and answers."""

        @step(num_workers=2)
        async def search(
            self,
            ev: StartEvent,
            index: Annotated[Client, Resource(client)],
            limits: Annotated[Limits, ResourceConfig(config_file, label="limits")],
        ) -> Found:
            return Found(text="x")

        @step
        async def answer(
            self, ev: Found, index: Annotated[Client, Resource(client)]
        ) -> StopEvent:
            return StopEvent()

    return Searching


def arrows(graph: WorkflowGraph) -> set[tuple[str, str, str | None]]:
    labels = {node.id: node.label for node in graph.nodes}
    return {(labels[e.source], labels[e.target], e.label) for e in graph.edges}


def test_steps_events_and_what_joins_them():
    graph = get_workflow_representation(searching())
    found = next(node for node in graph.nodes if node.label == "Found")
    assert found.produced_by == ["search"]
    assert found.description == "What a search gave."
    assert found.event_types == ["Found", "Event"]
    assert found.is_subclass_of("Event") and not found.is_subclass_of("StopEvent")
    assert found.event_schema["properties"]["text"]["type"] == "string"
    assert {("search", "Found", None), ("Found", "answer", None)} <= arrows(graph)
    assert graph.description == "Searches and answers."


def test_a_resource_asked_for_twice_is_one_node_with_its_own_needs():
    graph = get_workflow_representation(searching())
    nodes = [node for node in graph.nodes if node.node_type == "resource"]
    assert {node.label for node in nodes} == {"Client", "str"}
    made = next(node for node in nodes if node.label == "Client")
    assert made.getter_name == "client"
    assert made.description == "Connects to the index."
    assert made.source_file == __file__ and made.source_line > 0
    assert {
        ("search", "Client", "index"),
        ("answer", "Client", "index"),
        ("Client", "str", "where"),
    } <= arrows(graph)


def test_a_config_shows_what_its_file_says_now(tmp_path):
    file = tmp_path / "limits.json"
    missing = get_workflow_representation(searching(str(file)))
    file.write_text(json.dumps({"tokens": 5}))
    there = get_workflow_representation(searching(str(file)))
    values = [
        node.config_value
        for graph in (missing, there)
        for node in graph.nodes
        if node.node_type == "resource_config"
    ]
    assert values == [None, {"tokens": 5}]
    node = next(n for n in there.nodes if n.node_type == "resource_config")
    assert node.label == "limits" and node.type_name == "Limits"
    assert node.config_schema["properties"]["tokens"]["type"] == "integer"


def test_people_are_a_node_between_question_and_answer():
    class Asking(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent()

        @step
        async def take(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent()

    graph = get_workflow_representation(Asking)
    assert {
        ("InputRequiredEvent", "person", None),
        ("person", "HumanResponseEvent", None),
    } <= arrows(graph)


def test_leaving_out_a_kind_of_node_keeps_the_paths():
    graph = get_workflow_representation(searching())
    steps = graph.filter_by_node_type("event", "resource", "resource_config")
    assert {node.label for node in steps.nodes} == {"search", "answer"}
    assert arrows(steps) == {("search", "answer", "Found")}
    assert len(graph.nodes) > 2, "the graph itself is as it was"


def test_paths_through_loops_of_nodes_that_are_gone_end():
    def node(name: str, kind: str) -> WorkflowGenericNode:
        return WorkflowGenericNode(id=name, label=name, node_type=kind)

    graph = WorkflowGraph(
        name="loop",
        nodes=[node("a", "keep"), node("x", "go"), node("y", "go"), node("b", "keep")],
        edges=[
            WorkflowGraphEdge(source=source, target=target)
            for source, target in [("a", "x"), ("x", "y"), ("y", "x"), ("y", "b")]
        ],
    )
    assert arrows(graph.filter_by_node_type("go")) == {("a", "b", "x")}


def test_the_graph_survives_a_round_trip_through_json():
    graph = get_workflow_representation(searching())
    again = WorkflowGraph.model_validate_json(graph.model_dump_json())
    assert again == graph
    assert [type(node) for node in again.nodes] == [type(node) for node in graph.nodes]


def test_a_label_can_be_cut_to_a_length():
    node = WorkflowGenericNode(id="n", label="retrieve", node_type="agent")
    assert node.truncated_label(8) == "retrieve"
    assert node.truncated_label(5) == "retr*"
