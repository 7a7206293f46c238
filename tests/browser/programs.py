"""Workflows that several files of these tests run, as the source of cells."""

# Runs until its gate is opened.
SLOW = """
import asyncio
from pathlib import Path
from stepwell import *

class Part(Event):
    number: int

class Slow(Workflow):
    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(number=n) for n in range(3)]

    @step(num_workers=2)
    async def work(self, ev: Part) -> StopEvent | None:
        await asyncio.wait([gate])
        return StopEvent(result="ready")

gate = asyncio.get_running_loop().create_future()
"""
SHOW = "handler = Slow().run()\nhandler"
OPEN = "gate.set_result(None)"
LIVE = '.jupyter-widgets button:has-text("Stop")'
FROZEN = '.jp-RenderedHTMLCommon:has-text("Slow")'

# Ask people: several fields, yes or no again and again, a name.
ASKING = """
import asyncio
from typing import Literal
from pydantic import Field
from stepwell import *

class Review(InputRequiredEvent):
    text: str

class Reviewed(HumanResponseEvent):
    verdict: Literal["accept", "revise"]
    stars: int = Field(ge=1, le=5)
    text: str
    notify: bool = False

class Desk(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> Review:
        ask = "Is <img src=x onerror=window.hacked=1> good?"
        return Review(prompt=ask, text="a\\nb")

    @step
    async def take(self, ev: Reviewed) -> StopEvent:
        return StopEvent(result=[ev.verdict, ev.stars, ev.text, ev.notify])

class Sure(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answers = []
        for prompt in ev.prompts:
            answer = await ctx.wait_for_event(
                HumanResponseEvent,
                waiter_event=InputRequiredEvent(prompt=prompt, default=True),
                timeout=600,
            )
            answers.append(answer.response)
        return StopEvent(result=answers)

class Name(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        return InputRequiredEvent(prefix="Name?")

    @step
    async def take(self, ev: HumanResponseEvent) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.response}!")
"""
FORM = ".jupyter-widgets:visible"
TEXT = f"{FORM} input[type=text]"
