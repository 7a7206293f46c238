"""Ours."""

from engines.same_names import jobs_with
from stepwell import Context, Event, StartEvent, StopEvent, Workflow, step

NAMES = """
from stepwell import Context, Event, StartEvent, StopEvent, Workflow, step
"""


# Not in a function: what is saved is found again by the name of its module.
class Mid(Event):
    n: int


class Late(Event):
    n: int


ENGINE = jobs_with(
    Context, Event, StartEvent, StopEvent, Workflow, step, Mid, Late, NAMES
)
