"""`Workflow`: a class of steps, and the way to start runs of it.

The class collects its steps and compiles them into a `Plan`; an instance holds
the options of its runs and whatever its author keeps on `self`. A run in
progress is in `run`, what the caller holds of it in `handler`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from stepwell.classes import (
    MEANT,
    WorkflowMeta,
    check_arguments,
    for_instances,
    forgotten_steps,
    no_attribute,
    steps_that_hide,
    usable,
)
from stepwell.context import Context
from stepwell.drawing import Drawable
from stepwell.errors import (
    NoRunningLoopError,
    WorkflowRuntimeError,
    WorkflowValidationError,
)
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.executors import Executor, LocalExecutor
from stepwell.handler import WorkflowHandler
from stepwell.journals import Journal
from stepwell.machine import Machine
from stepwell.plan import Plan
from stepwell.questions import Answers
from stepwell.resources import ResourceManager, find_problems
from stepwell.run import Run
from stepwell.serializers import BaseSerializer
from stepwell.signature import StepSpec
from stepwell.steps import check_names, spec_of
from stepwell.sync import finish
from stepwell.turns import Turns, keep_name, name_for

__all__ = ["Workflow", "WorkflowMeta"]

_notices = logging.getLogger("stepwell.redefined")


class Workflow(Drawable, metaclass=WorkflowMeta):
    """Steps that pass events to each other.

    Subclass it and write steps as methods decorated with `@step`; their
    annotations make the graph. An instance may run many times, also at once: each
    run has its own state, while attributes on `self` are shared.

    Args:
        timeout: Seconds a run may take, 45 by default; None for no limit. The
            clock stands still while a run only waits for a person.
        disable_validation: Run although the graph has problems.
        verbose: Print a line when a step starts and when it ends.
        resource_manager: Makes what steps ask for with `Resource`; one of its own by
            default.
        num_concurrent_runs: How many runs of this instance may go on at once; more
            wait for their turn, and their clock with them. None for no limit.
        workflow_name: Name for messages and pictures; the class name by default.
        on_stall: What to do when nothing runs and nothing is waited for: `"fail"`
            at once with a diagnosis, or `"wait"` for events from outside.
        skip_graph_checks: Checks to pass over: "reachability", "terminal_event",
            "dead_end".
        executor: Performs the steps; by default on the loop that runs them.
        journal: Keeps the facts of runs; by default none are kept beyond the
            bounded `handler.record`.
        serializer: Turns events and state into text in `ctx.to_dict()`; JSON by
            default.
        runtime: Refused: what LlamaIndex calls a runtime is here an executor or a
            journal.

    Raises:
        WorkflowConfigurationError: No step can start or end a run.
        WorkflowValidationError: An argument cannot be used.
    """

    # Set here too, so that a subclass which forgets super().__init__() works.
    __timeout: float | None = 45.0
    __disable_validation = False
    __verbose = False
    __workflow_name: str | None = None
    __on_stall: Literal["fail", "wait"] = "fail"
    __executor: Executor = LocalExecutor()
    __journal: Journal | None = None
    __resources: ResourceManager | None = None
    __turns: Turns | None = None
    __skip: frozenset[str] = frozenset()
    __checked: Plan | None = None
    __serializer: BaseSerializer | None = None
    _free_steps: ClassVar[dict[str, Callable[..., Any]]] = {}
    _compiled: tuple[int, Plan] | None = None

    def __init__(
        self,
        timeout: float | None = 45.0,
        disable_validation: bool = False,
        verbose: bool = False,
        resource_manager: ResourceManager | None = None,
        num_concurrent_runs: int | None = None,
        runtime: None = None,
        *,
        workflow_name: str | None = None,
        skip_graph_checks: Iterable[str] | None = None,
        serializer: BaseSerializer | None = None,
        on_stall: Literal["fail", "wait"] = "fail",
        executor: Executor | None = None,
        journal: Journal | None = None,
    ) -> None:
        is_time = isinstance(timeout, int | float) and timeout > 0
        if timeout is not None and not is_time:
            raise WorkflowValidationError(
                f"timeout must be above 0 seconds, not {timeout!r}.",
                hint="Pass timeout=None for no limit.",
                workflow=type(self).__name__,
            )
        if on_stall not in ("fail", "wait"):
            raise WorkflowValidationError(
                f'on_stall must be "fail" or "wait", not {on_stall!r}.',
                workflow=type(self).__name__,
            )
        limit = num_concurrent_runs
        if limit is not None and (type(limit) is not int or limit < 1):
            raise WorkflowValidationError(
                f"num_concurrent_runs must be a whole number above 0, not {limit!r}.",
                hint="Leave it out for no limit.",
                workflow=type(self).__name__,
            )
        if runtime is not None:
            raise WorkflowValidationError(
                "runtime= is not known here.",
                hint="Pass executor=… for where steps run, or journal=… for where "
                "the facts of a run are kept.",
                workflow=type(self).__name__,
            )
        self.__resources = resource_manager
        self.__turns = None if limit is None else Turns(limit)
        self.__skip = check_names(skip_graph_checks, type(self).__name__)
        self.__serializer = serializer
        self.__timeout = timeout
        self.__disable_validation = disable_validation
        self.__verbose = verbose
        self.__workflow_name = workflow_name
        self.__on_stall = on_stall
        if executor is not None:
            self.__executor = executor
        self.__journal = journal
        self.compile()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keep steps from hiding what every workflow has, such as `validate`."""
        super().__init_subclass__(**kwargs)
        if hiding := steps_that_hide(cls, Workflow):
            cls._free_steps = hiding  # they are found there as well
            for name in hiding:
                delattr(cls, name)

    # -- the class ---------------------------------------------------------------

    @classmethod
    def _specs(cls) -> tuple[StepSpec, ...]:
        found: dict[str, StepSpec] = {}
        for base in reversed(cls.__mro__):
            members = {**vars(base), **vars(base).get("_free_steps", {})}
            for name, member in members.items():
                spec = spec_of(member)
                if spec is not None:
                    found[name] = spec
                elif name in found:
                    del found[name]
        return tuple(found.values())

    @classmethod
    def _undecorated(cls) -> list[str]:
        """Methods that may have been meant as steps, for messages."""
        return forgotten_steps(cls.__mro__[: cls.__mro__.index(Workflow)])

    @classmethod
    def compile(cls) -> Plan:
        """The plan that routes events; made anew when steps have changed."""
        made = cls.__dict__.get("_compiled")
        if made is None or made[0] != WorkflowMeta.changes:
            plan = Plan(
                cls.__name__, cls._specs(), cls.__doc__, undecorated=cls._undecorated()
            )
            made = cls._compiled = (WorkflowMeta.changes, plan)
        fresh: Plan = made[1]
        return fresh

    @classmethod
    def add_step(cls, func: Callable[..., Any]) -> None:
        """Add a function decorated with `@step` to the class.

        A step of the same name is replaced if it was defined in the same place:
        that is a cell which was run again.

        Raises:
            WorkflowValidationError: It is no step, or the name is taken.
        """
        spec = spec_of(func)
        if spec is None:
            name = getattr(func, "__name__", repr(func))
            raise WorkflowValidationError(
                f"{name} is not decorated with @step.",
                hint=f"Write @step(workflow={cls.__name__}) above it.",
                workflow=cls.__name__,
            )
        if spec.bound:
            raise WorkflowValidationError(
                f"step `{spec.name}` is a method of another class.",
                hint="To use its steps, derive from that class; a free function is "
                f"added by @step(workflow={cls.__name__}).",
                workflow=cls.__name__,
                step=spec.name,
            )
        if "_free_steps" not in cls.__dict__:
            cls._free_steps = {}
        there = {s.name: s.function for s in cls._specs()}.get(spec.name)
        if there is not None:
            if _place(there) != _place(func):
                raise WorkflowValidationError(
                    f"{cls.__name__} has a step `{spec.name}` already.",
                    hint="Give the new one another name.",
                    workflow=cls.__name__,
                    step=spec.name,
                )
            _notices.info("step %s of %s replaced.", spec.name, cls.__name__)
        cls._free_steps = {**cls._free_steps, spec.name: func}

    # -- what it is --------------------------------------------------------------

    @property
    def workflow_name(self) -> str:
        """The name shown in messages and pictures."""
        return self.__workflow_name or type(self).__name__

    @property
    def events(self) -> list[type[Event]]:
        """Every event class that a step accepts or returns, in order of first use."""
        steps = self.compile().steps
        return list(dict.fromkeys(k for s in steps for k in (*s.accepts, *s.returns)))

    @property
    def start_event_class(self) -> type[StartEvent]:
        """The class that `run` makes its start event from."""
        return self.compile().start_class

    @property
    def stop_event_class(self) -> type[StopEvent]:
        """The class that ends a run."""
        return self.compile().stop_classes[0]

    @property
    def state_type(self) -> type[BaseModel]:
        """The class of the state that the steps share."""
        return self.compile().state_type

    @property
    def serializer(self) -> BaseSerializer | None:
        """What turns events and state into text; None for JSON."""
        return self.__serializer

    def validate(
        self,
        *,
        validate_resource_configs: bool = True,
        validate_resources: bool = False,
    ) -> bool:
        """Check the graph, and the resources that steps ask for.

        Args:
            validate_resource_configs: Read the files of `ResourceConfig` as well.
            validate_resources: Make every resource, to see that it can be made.

        Returns:
            Whether a person takes part: some step asks or is answered.

        Raises:
            WorkflowValidationError: Naming every problem.
        """
        plan = self.compile()
        self._check(plan, configs=validate_resource_configs)
        if validate_resources:
            finish(self._try_resources(plan), self.workflow_name)
        return any(plan.route(k).asks or plan.route(k).answers for k in self.events)

    def _check(self, plan: Plan, *, configs: bool) -> None:
        plan.check(outside=self.__on_stall == "wait", skip=self.__skip)
        manager = self._resource_manager
        found = [
            f"  - step `{spec.name}`, {problem}"
            for spec in plan.steps
            if spec.resources
            for problem in find_problems(
                spec.resources, configs=configs, given=manager.overrides
            )
        ]
        if found:
            raise WorkflowValidationError(
                f"{plan.name} cannot be given its resources:\n" + "\n".join(found),
                workflow=plan.name,
            )

    async def _try_resources(self, plan: Plan) -> None:
        # With a manager of its own: what is made here belongs to this event loop.
        manager = ResourceManager()
        for name, value in self._resource_manager.overrides.items():
            await manager.set(name, value)
        failed: list[str] = []
        for spec in plan.steps:
            for definition in spec.resources:
                try:
                    await manager.resolve([definition])
                except Exception as error:
                    failed.append(
                        f"  - step `{spec.name}`, parameter `{definition.name}`: "
                        f"{type(error).__name__}: {error}"
                    )
        if failed:
            raise WorkflowValidationError(
                f"{plan.name}: resources cannot be made:\n" + "\n".join(failed),
                workflow=plan.name,
            )

    @property
    def _resource_manager(self) -> ResourceManager:
        if self.__resources is None:
            self.__resources = ResourceManager()
        return self.__resources

    # -- runs --------------------------------------------------------------------

    # Type checkers find misspelt names by themselves, and shall not see this.
    locals()["__getattr__"] = no_attribute

    @for_instances
    def run(
        self,
        *args: Any,
        ctx: Context[Any] | None = None,
        start_event: StartEvent | None = None,
        run_id: str | None = None,
        answers: Any = None,
        **kwargs: Any,
    ) -> WorkflowHandler:
        """Start a run in the background, on the event loop that is running.

        Args:
            *args: `ctx`, and after it `start_event`, may come by position; all else
                is refused, with the way to write it.
            ctx: A context to keep using; its state goes on from the last run.
            start_event: The start event, instead of keyword arguments.
            run_id: Names the run, as no other that is going on; made up by default.
            answers: What to answer to its questions, where nobody is there to be
                asked: a list, in turn; a mapping from classes of questions, or what
                they ask, to answers; or a function from the question's event to its
                answer. A question that has none ends the run. Belongs to the start
                event, as any other keyword, where that declares such a field.
            **kwargs: Fields of the start event.

        Returns:
            The handler; `await` it for the result.

        Raises:
            NoRunningLoopError: No event loop is running here.
            WorkflowValidationError: The graph has problems.
            WorkflowRuntimeError: The arguments do not make a start event, or a run
                of this `run_id` is going on.
        """
        plan = self.compile()
        name = self.workflow_name
        if ctx is None and args and isinstance(args[0], Context):
            ctx, args = args[0], args[1:]
            if start_event is None and args and isinstance(args[0], StartEvent):
                start_event, args = args[0], args[1:]
        if args or start_event is not None or not MEANT.isdisjoint(kwargs):
            check_arguments(name, plan.start_class, args, start_event, kwargs)
        if not self.__disable_validation and self.__checked is not plan:
            self._check(plan, configs=True)
            self.__checked = plan
        context = Context(self) if ctx is None else usable(ctx, self)
        left = context.take_left(plan)
        prepared = None
        if answers is not None:
            taken = left is None and "answers" in plan.start_class.model_fields
            if isinstance(answers, Answers):
                prepared = answers  # those of the step that runs this
            elif taken:
                kwargs["answers"] = answers
            else:
                prepared = Answers(answers)
        if left is not None and (start_event is not None or kwargs):
            raise WorkflowRuntimeError(
                f"{name}.run() got a context saved in the middle of a run, which it "
                "goes on with, and also a new start event.",
                hint="Write run(ctx=ctx) to go on, or run(…) without it to begin.",
                workflow=name,
            )
        event = None if left else plan.start_event(start_event, kwargs)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise NoRunningLoopError(
                f"{name}.run() needs a running event loop, and there is none here.",
                hint="Inside `async def`: result = await workflow.run(…). In a plain "
                "script: asyncio.run(main()), or workflow.run_sync(…).",
                workflow=name,
            ) from None
        named, run_id = run_id is not None, name_for(run_id, name)
        machine = Machine(
            plan,
            timeout=self.__timeout,
            wait_when_stalled=self.__on_stall == "wait",
        )
        run = Run(
            machine,
            self,
            context,
            loop,
            run_id=run_id,
            executor=self.__executor,
            resources=self._resource_manager,
            journal=self.__journal,
            verbose=self.__verbose,
        )
        context.attach(run)
        run.answers = prepared
        if named or self.__journal is not None:
            keep_name(run)
        if self.__turns is None:
            run.start(event, left)
        elif not self.__turns.take(run, lambda: run.start(event, left)):
            run.queue(event, left)
        return WorkflowHandler(run, self, context)

    @for_instances
    def run_sync(self, *args: Any, **kwargs: Any) -> Any:
        """Run to the end and give the result, where nothing can be awaited.

        Without a running loop this is `asyncio.run`; inside one (a notebook cell)
        the run takes place on a loop in a thread of its own, which is kept.

        Raises:
            WorkflowRuntimeError: Called on that thread itself, from a step.
        """

        async def whole() -> Any:
            return await self.run(*args, **kwargs)._outcome()

        return finish(whole(), self.workflow_name)


def _place(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, function.__qualname__
