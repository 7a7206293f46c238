"""Every public name of LlamaIndex Workflows is here too, flat and in its room."""

import importlib
import inspect

import pytest

import stepwell
from parity.engines import LLAMAINDEX, MODULES, STEPWELL, public_names

# Which room here has what that module has there.
ROOMS = {
    "workflows": ("stepwell", "context", "steps", "workflow"),
    "workflows.events": ("events", "serializers"),
    "workflows.errors": ("errors",),
    "workflows.retry_policy": ("retry",),
    "workflows.collect": ("collect",),
    "workflows.resource": ("resources",),
    "workflows.context": ("context", "serializers"),
    "workflows.context.serializers": ("serializers",),
    "workflows.context.state_store": ("store",),
    "workflows.decorators": ("steps",),
    "workflows.handler": ("handler",),
    "workflows.testing": ("testing",),
    "workflows.testing.runner": ("testing",),
    "workflows.representation": ("representation",),
    "workflows.types": (),
}
# What is not here, and why.
PARTS = "a part of how LlamaIndex runs or keeps things, not something programs use"
NOT_HERE = {
    "workflows.events": {
        "DictLikeModel": "Event is what people derive from",
        "IdleReleasedEvent": "for runtimes that let idle runs go; there are none here",
        "CollectionReleaseEvent": PARTS,
        "SerializableEvent": PARTS,
        "SerializableOptionalEvent": PARTS,
        "SerializableException": PARTS,
        "SerializableOptionalException": PARTS,
        "SerializableEventType": PARTS,
    },
    "workflows.errors": {"WorkflowDone": "ends LlamaIndex's own workers"},
    "workflows.decorators": dict.fromkeys(
        ("StepConfig", "CatchErrorHandler", "StepFunction", "make_step_function"), PARTS
    ),
    "workflows.context.state_store": dict.fromkeys(
        (
            "InMemorySerializedState",
            "StateCheckpoint",
            "StateRecord",
            "StateStorage",
            "StateStore",
            "StateStoreFacade",
            "UnserializableKeyWarning",
            "apply_state_patch",
            "assign_path_step",
            "copy_state_for_edit",
            "create_cleared_state",
            "create_in_memory_payload",
            "decode_seed_state",
            "decode_state",
            "decode_state_tree",
            "deserialize_dict_state_data",
            "deserialize_state_from_dict",
            "encode_state",
            "encode_state_tree",
            "get_by_path",
            "infer_state_type",
            "is_declared_model_path_segment",
            "is_durable_serialized_state",
            "merge_state",
            "parse_in_memory_state",
            "restored_run_id",
            "serialize_dict_state_data",
            "set_by_path",
            "set_by_path_copy",
            "string_record_from_state",
            "traverse_path_step",
        ),
        PARTS,
    ),
    "workflows.types": dict.fromkeys(("StopEventT", "RunResultT"), "spelling of types"),
}
SPELLING = {"T", "B", "P", "R", "S", "E", "R_co", "MODEL_T"}


def names_in(module):
    return [
        name
        for name in public_names(importlib.import_module(module))
        if name not in SPELLING
    ]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_stepwell_and_in_its_room(module):
    rooms = [
        importlib.import_module(room if room == "stepwell" else f"stepwell.{room}")
        for room in ROOMS[module]
    ]
    wanted = set(names_in(module)) - set(NOT_HERE.get(module, ()))
    assert sorted(n for n in wanted if not hasattr(stepwell, n)) == []
    assert sorted(n for n in wanted if n not in stepwell.__all__) == []
    for name in wanted:
        assert any(hasattr(room, name) for room in rooms), name


@pytest.mark.parametrize("module", NOT_HERE)
def test_what_is_said_not_to_be_here_is_not(module):
    names = NOT_HERE[module]
    assert [name for name in names if hasattr(stepwell, name)] == []
    unknown = set(names) - set(vars(importlib.import_module(module)))
    assert unknown == set()


CALLS = [
    *names_in("workflows.retry_policy"),
    *["Resource", "ResourceConfig", "Collect", "Take", "All", "JsonSerializer"],
    *["get_workflow_representation", "WorkflowTestRunner.run", "step", "catch_error"],
    *[f"Workflow.{name}" for name in ("__init__", "run", "validate", "add_step")],
    *[
        f"Context.{name}"
        for name in vars(LLAMAINDEX.Context)
        if not name.startswith("_") and name not in ("stream_events", "streaming_queue")
    ],
    *[
        f"WorkflowHandler.{name}"
        for name in vars(LLAMAINDEX.WorkflowHandler)
        if not name.startswith("_")
    ],
    *[
        f"InMemoryStateStore.{name}"
        for name in ("get", "set", "get_state", "set_state", "edit_state", "clear")
    ],
    "WorkflowGraph.filter_by_node_type",
]
# Called otherwise here, where nobody names them.
RENAMED = {"func": "function", "val": "value"}


@pytest.mark.parametrize("path", CALLS)
def test_calls_take_the_same_arguments(path):
    theirs, ours = LLAMAINDEX, STEPWELL
    for part in path.split("."):
        theirs, ours = getattr(theirs, part), getattr(ours, part)
    if inspect.isclass(theirs) and getattr(theirs, "_is_protocol", False):
        return  # nobody calls it
    if not callable(theirs):
        assert not callable(ours)  # a property
        return
    wanted = list(inspect.signature(theirs).parameters.values())
    given = inspect.signature(ours)
    named = [
        p.name for p in wanted if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    given.bind_partial(**{n: 0 for n in named if n not in ("self", *RENAMED)})
    places = list(given.parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in places):
        return  # Workflow.run sees for itself what stands where
    # Beyond the second place everybody gives arguments by name.
    first = _places(wanted)[:2]
    assert _places(places)[: len(first)] == first


def _places(parameters):
    return [
        RENAMED.get(p.name, p.name)
        for p in parameters
        if p.kind is not p.KEYWORD_ONLY and p.name != "self"
    ]
