"""The graph of a workflow as data: what the notebook draws, and others may too.

Loaded when it is first asked for, because running a workflow needs no picture.
The checks of the graph are in `graph`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from stepwell.events import Event, HumanResponseEvent, InputRequiredEvent
from stepwell.workflow import Workflow

__all__ = [
    "WorkflowEventNode",
    "WorkflowExternalNode",
    "WorkflowGraph",
    "WorkflowGraphEdge",
    "WorkflowStepNode",
    "get_workflow_representation",
]


class _Node(BaseModel):
    id: str
    label: str


class WorkflowStepNode(_Node):
    """A step."""

    node_type: Literal["step"] = "step"
    description: str | None = None
    num_workers: int = 4
    signature: str = ""


class WorkflowEventNode(_Node):
    """An event class; `event_types` lists it and its event base classes by name."""

    node_type: Literal["event"] = "event"
    event_type: str
    event_types: list[str]
    produced_by: list[str] = []
    description: str | None = None


class WorkflowExternalNode(_Node):
    """Somebody outside the workflow who is asked and answers."""

    node_type: Literal["external"] = "external"


class WorkflowGraphEdge(BaseModel):
    """An arrow between two nodes, by their ids."""

    source: str
    target: str
    label: str | None = None


class WorkflowGraph(BaseModel):
    """Everything needed to draw a workflow."""

    name: str
    description: str | None = None
    nodes: list[WorkflowStepNode | WorkflowEventNode | WorkflowExternalNode]
    edges: list[WorkflowGraphEdge]


def get_workflow_representation(
    workflow: Workflow | type[Workflow],
) -> WorkflowGraph:
    """The graph of a workflow class or instance, as data to draw.

    It has a node for each step, each event class and, where people are asked or
    answer, one for them.
    """
    plan = workflow.compile()
    name = workflow.workflow_name if isinstance(workflow, Workflow) else plan.name
    steps, description = plan.steps, plan.description
    kinds = dict.fromkeys(k for s in steps for k in (*s.accepts, *s.returns))
    nodes: list[WorkflowStepNode | WorkflowEventNode | WorkflowExternalNode] = [
        WorkflowStepNode(
            id=spec.name,
            label=spec.name,
            description=spec.description,
            num_workers=spec.num_workers,
            signature=spec.signature,
        )
        for spec in steps
    ]
    for kind in kinds:
        bases = [b.__name__ for b in kind.__mro__ if _is_event_class(b)]
        nodes.append(
            WorkflowEventNode(
                id=kind.__name__,
                label=kind.__name__,
                event_type=kind.__name__,
                event_types=bases,
                produced_by=[s.name for s in steps if kind in s.returns],
                description=_own_doc(kind),
            )
        )
    edges = [
        WorkflowGraphEdge(source=kind.__name__, target=spec.name)
        for spec in steps
        for kind in spec.accepts
    ] + [
        WorkflowGraphEdge(source=spec.name, target=kind.__name__)
        for spec in steps
        for kind in spec.returns
    ]
    people = [k for k in kinds if issubclass(k, InputRequiredEvent)]
    answers = [k for k in kinds if issubclass(k, HumanResponseEvent)]
    if people or answers:
        nodes.append(WorkflowExternalNode(id="external_step", label="person"))
        edges += [
            WorkflowGraphEdge(source=k.__name__, target="external_step") for k in people
        ] + [
            WorkflowGraphEdge(source="external_step", target=k.__name__)
            for k in answers
        ]
    return WorkflowGraph(name=name, description=description, nodes=nodes, edges=edges)


def _is_event_class(base: type) -> bool:
    return isinstance(base, type(Event)) and issubclass(base, Event)


def _own_doc(kind: type) -> str | None:
    doc: object = kind.__dict__.get("__doc__")
    return doc if isinstance(doc, str) else None
