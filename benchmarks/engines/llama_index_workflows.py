"""LlamaIndex Workflows, of the distribution `llama-index-workflows`."""

from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent

from engines.same_names import jobs_with

NAMES = """
from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent
"""


# Not in a function: what is saved is found again by the name of its module.
class Mid(Event):
    n: int


class Late(Event):
    n: int


ENGINE = jobs_with(
    Context, Event, StartEvent, StopEvent, Workflow, step, Mid, Late, NAMES
)
