"""The graph of a workflow as data: what the notebook draws, and others may too.

Loaded when it is first asked for, because running a workflow needs no picture.
The checks of the graph are in `graph`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from stepwell.events import Event, HumanResponseEvent, InputRequiredEvent
from stepwell.resources import Resource, ResourceConfig, ResourceDescriptor
from stepwell.signature import StepSpec
from stepwell.workflow import Workflow

__all__ = [
    "WorkflowEventNode",
    "WorkflowExternalNode",
    "WorkflowGenericNode",
    "WorkflowGraph",
    "WorkflowGraphEdge",
    "WorkflowGraphNode",
    "WorkflowNodeBase",
    "WorkflowResourceConfigNode",
    "WorkflowResourceNode",
    "WorkflowStepNode",
    "get_workflow_representation",
]


class WorkflowNodeBase(BaseModel):
    """What all nodes have: an id that edges name, and a label for people."""

    id: str
    label: str

    def truncated_label(self, max_length: int) -> str:
        """The label in at most `max_length` letters; `*` says that some are gone."""
        if len(self.label) <= max_length:
            return self.label
        return self.label[: max_length - 1] + "*"


class WorkflowStepNode(WorkflowNodeBase):
    """A step."""

    node_type: Literal["step"] = "step"
    description: str | None = None
    num_workers: int = 4
    signature: str = ""


class WorkflowEventNode(WorkflowNodeBase):
    """An event class; `event_types` lists it and its event base classes by name.

    `event_schema` is the JSON schema of its fields, None where they have none.
    """

    node_type: Literal["event"] = "event"
    event_type: str
    event_types: list[str]
    event_schema: dict[str, Any] | None = None
    produced_by: list[str] = []
    description: str | None = None

    def is_subclass_of(self, *type_names: str) -> bool:
        """Whether the class has one of these names, or a base class that has."""
        return not set(type_names).isdisjoint(self.event_types)


class WorkflowExternalNode(WorkflowNodeBase):
    """Somebody outside the workflow who is asked and answers."""

    node_type: Literal["external"] = "external"


class WorkflowResourceNode(WorkflowNodeBase):
    """Something injected into steps, made by a factory."""

    node_type: Literal["resource"] = "resource"
    type_name: str | None = None
    getter_name: str | None = None
    source_file: str | None = None
    source_line: int | None = None
    description: str | None = None


class WorkflowResourceConfigNode(WorkflowNodeBase):
    """Something injected into steps, read from a JSON file.

    `config_value` is what the file says now, None where it cannot be read.
    """

    node_type: Literal["resource_config"] = "resource_config"
    type_name: str | None = None
    config_file: str | None = None
    path_selector: str | None = None
    config_schema: dict[str, Any] | None = None
    config_value: dict[str, Any] | None = None
    description: str | None = None


class WorkflowGenericNode(WorkflowNodeBase):
    """A node of a kind of your own, named by `node_type`."""

    node_type: str
    event_type: str | None = None
    event_types: list[str] | None = None

    def is_subclass_of(self, *type_names: str) -> bool:
        """Whether one of these names is among `event_types`."""
        return not set(type_names).isdisjoint(self.event_types or ())


WorkflowGraphNode = (
    WorkflowStepNode
    | WorkflowEventNode
    | WorkflowExternalNode
    | WorkflowResourceNode
    | WorkflowResourceConfigNode
    | WorkflowGenericNode
)


class WorkflowGraphEdge(BaseModel):
    """An arrow between two nodes, by their ids."""

    source: str
    target: str
    label: str | None = None


class WorkflowGraph(BaseModel):
    """Everything needed to draw a workflow."""

    name: str
    description: str | None = None
    nodes: list[WorkflowGraphNode]
    edges: list[WorkflowGraphEdge]

    def filter_by_node_type(self, *node_types: str) -> WorkflowGraph:
        """The graph without nodes of these kinds, its paths kept.

        Where a path led through nodes that are gone, an arrow leads from its first
        kept node to the next, labelled with the first node that it passes over.

        Args:
            *node_types: `"step"`, `"event"`, `"external"`, `"resource"`,
                `"resource_config"`, or a kind of your own.
        """
        gone = {n.id: n.label for n in self.nodes if n.node_type in node_types}
        after: dict[str, list[WorkflowGraphEdge]] = {}
        for edge in self.edges:
            after.setdefault(edge.source, []).append(edge)
        found: dict[tuple[str, str], str | None] = {}
        for edge in self.edges:
            if edge.source in gone:
                continue
            label = gone.get(edge.target, edge.label)
            way, passed = [edge.target], {edge.source}
            while way:
                here = way.pop(0)
                if here not in gone:
                    found.setdefault((edge.source, here), label)
                elif here not in passed:
                    passed.add(here)
                    way += [each.target for each in after.get(here, ())]
        return WorkflowGraph(
            name=self.name,
            description=self.description,
            nodes=[node for node in self.nodes if node.id not in gone],
            edges=[
                WorkflowGraphEdge(source=source, target=target, label=label)
                for (source, target), label in found.items()
            ],
        )


def get_workflow_representation(
    workflow: Workflow | type[Workflow],
) -> WorkflowGraph:
    """The graph of a workflow class or instance, as data to draw.

    It has a node for each step, each event class, each resource that steps ask for
    or resources need, and, where people are asked or answer, one for them. Arrows
    lead from steps to the resources they ask for.
    """
    plan = workflow.compile()
    name = workflow.workflow_name if isinstance(workflow, Workflow) else plan.name
    steps = plan.steps
    kinds = dict.fromkeys(k for s in steps for k in (*s.accepts, *s.returns))
    nodes: list[WorkflowGraphNode] = [
        WorkflowStepNode(
            id=spec.name,
            label=spec.name,
            description=spec.description,
            num_workers=spec.num_workers,
            signature=spec.signature,
        )
        for spec in steps
    ]
    ids = _ids_of(kinds, {spec.name for spec in steps})
    nodes += [_event_node(kind, ids[kind], steps) for kind in kinds]
    edges = [
        WorkflowGraphEdge(source=ids[kind], target=spec.name)
        for spec in steps
        for kind in spec.accepts
    ] + [
        WorkflowGraphEdge(source=spec.name, target=ids[kind])
        for spec in steps
        for kind in spec.returns
    ]
    people = [k for k in kinds if issubclass(k, InputRequiredEvent)]
    answers = [k for k in kinds if issubclass(k, HumanResponseEvent)]
    if people or answers:
        nodes.append(WorkflowExternalNode(id="external_step", label="person"))
        edges += [
            WorkflowGraphEdge(source=ids[k], target="external_step") for k in people
        ] + [WorkflowGraphEdge(source="external_step", target=ids[k]) for k in answers]
    resources = _Resources()
    for spec in steps:
        for parameter, resource, kind in spec.resources:
            resources.add(spec.name, parameter, resource, kind)
    return WorkflowGraph(
        name=name,
        description=plan.description,
        nodes=[*nodes, *resources.nodes.values()],
        edges=[*edges, *resources.edges],
    )


def _ids_of(kinds: Iterable[type[Event]], taken: set[str]) -> dict[type[Event], str]:
    """An id for each event class: its name, if no step and no other class has that."""
    ids: dict[type[Event], str] = {}
    for kind in kinds:
        ids[kind] = kind.__name__
        while ids[kind] in taken:
            ids[kind] += "_event"
        taken.add(ids[kind])
    return ids


def _event_node(
    kind: type[Event], id: str, steps: Iterable[StepSpec]
) -> WorkflowEventNode:
    bases = [b.__name__ for b in kind.__mro__ if _is_event_class(b)]
    return WorkflowEventNode(
        id=id,
        label=kind.__name__,
        event_type=kind.__name__,
        event_types=bases,
        event_schema=_schema(kind),
        produced_by=[s.name for s in steps if kind in s.returns],
        description=_own_doc(kind),
    )


class _Resources:
    """The nodes of what steps ask for, one for each thing, and the arrows to them."""

    def __init__(self) -> None:
        self.nodes: dict[object, WorkflowGraphNode] = {}
        self.edges: list[WorkflowGraphEdge] = []

    def add(
        self, asker: str, parameter: str, resource: ResourceDescriptor, kind: Any
    ) -> None:
        """Note that a step, or another resource, asks for this one."""
        key: object = resource.name
        if isinstance(resource, Resource):
            key = (resource.name, id(resource.factory))
        new = key not in self.nodes
        if new:
            self.nodes[key] = self._node(f"resource_{len(self.nodes)}", resource, kind)
        node = self.nodes[key]
        self.edges.append(
            WorkflowGraphEdge(source=asker, target=node.id, label=parameter)
        )
        if new:
            for need in self._needs(resource):
                self.add(node.id, *need)

    def _needs(
        self, resource: ResourceDescriptor
    ) -> Sequence[tuple[str, ResourceDescriptor, Any]]:
        try:
            return resource.get_dependencies()
        except ValueError:  # it says so itself when the workflow is validated
            return ()

    def _node(
        self, id: str, resource: ResourceDescriptor, kind: Any
    ) -> WorkflowGraphNode:
        type_name = getattr(kind, "__name__", None)
        if isinstance(resource, ResourceConfig):
            return WorkflowResourceConfigNode(
                id=id,
                label=resource.label or type_name or resource.name,
                type_name=type_name,
                config_file=resource.config_file,
                path_selector=resource.path_selector,
                config_schema=_schema(resource.model),
                config_value=_read(resource),
                description=resource.description,
            )
        file, line = getattr(resource, "source", None) or (None, None)
        return WorkflowResourceNode(
            id=id,
            label=type_name or resource.name,
            type_name=type_name,
            getter_name=resource.name,
            source_file=file,
            source_line=line,
            description=getattr(resource, "description", None),
        )


def _schema(kind: type[BaseModel] | None) -> dict[str, Any] | None:
    try:
        return None if kind is None else kind.model_json_schema()
    except Exception:  # a field has no form in JSON; a drawing does without
        return None


def _read(resource: ResourceConfig) -> dict[str, Any] | None:
    try:
        value = resource.read()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _is_event_class(base: type) -> bool:
    return isinstance(base, type(Event)) and issubclass(base, Event)


def _own_doc(kind: type) -> str | None:
    doc: object = kind.__dict__.get("__doc__")
    return doc if isinstance(doc, str) else None
