"""Longer programs as people write them, each run whole on both engines."""

import asyncio
import json

from pydantic import BaseModel, Field, ValidationError

from parity.engines import ending, importable, same, shown

DOCUMENTS = [
    "Workflows pass events between steps.",
    "A step takes an event and gives back another.",
    "Boil the eggs for six minutes.",
    "The stream shows events while a run goes on.",
]


def words(text):
    return {word.strip(".,?").lower() for word in text.split()}


class Index:
    """Search by shared words, asynchronous like a real one."""

    async def search(self, query, top_k):
        await asyncio.sleep(0)
        ranked = sorted(
            DOCUMENTS, key=lambda text: len(words(text) & words(query)), reverse=True
        )
        return ranked[:top_k]


class Model:
    """A language model that has its answers ready."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.prompts = []

    async def complete(self, prompt):
        self.prompts.append(prompt)
        await asyncio.sleep(0)
        return self.answers.pop(0)


async def test_retrieval_with_rerank_and_synthesis():
    async def program(w):
        class Retrieved(w.Event):
            query: str
            texts: list[str] = Field(default_factory=list)

        class Reranked(w.Event):
            texts: list[str]

        class Progress(w.Event):
            message: str

        class Answer(w.StopEvent):
            text: str
            sources: list[str]

        class Retrieval(w.Workflow):
            def __init__(self, index, model, **options):
                super().__init__(**options)
                self.index = index
                self.model = model

            @w.step
            async def retrieve(self, ctx: w.Context, ev: w.StartEvent) -> Retrieved:
                query = ev.get("query", "")
                await ctx.store.set("query", query)
                texts = await self.index.search(query, top_k=3)
                ctx.write_event_to_stream(Progress(message=f"{len(texts)} found"))
                return Retrieved(query=query, texts=texts)

            @w.step
            async def rerank(self, ctx: w.Context, ev: Retrieved) -> Reranked:
                kept = sorted(ev.texts, key=len)[:2]
                ctx.write_event_to_stream(Progress(message=f"{len(kept)} kept"))
                return Reranked(texts=kept)

            @w.step
            async def synthesize(self, ctx: w.Context, ev: Reranked) -> Answer:
                query = await ctx.store.get("query")
                prompt = f"{query}\n" + "\n".join(ev.texts)
                text = await self.model.complete(prompt)
                return Answer(text=text, sources=ev.texts)

        model = Model("They pass events.")
        flow = Retrieval(Index(), model, timeout=30)
        handler = flow.run(query="What do workflows pass between steps?")
        seen = [shown(event) async for event in handler.stream_events()]
        answer = await handler
        return [seen, answer.text, answer.sources, model.prompts]

    seen, text, sources, _ = await same(program)
    assert [name for name, _ in seen] == ["Progress", "Progress", "Answer"]
    assert text == "They pass events." and len(sources) == 2


async def test_reflection_until_the_answer_is_valid():
    class Car(BaseModel):
        brand: str
        power: int

    async def program(w):
        class Extracted(w.Event):
            output: str
            passage: str

        class Invalid(w.Event):
            error: str
            wrong: str
            passage: str

        class Reflection(w.Workflow):
            max_retries: int = 3

            def __init__(self, model, **options):
                super().__init__(**options)
                self.model = model

            @w.step
            async def extract(
                self, ctx: w.Context, ev: w.StartEvent | Invalid
            ) -> w.StopEvent | Extracted:
                tries = await ctx.store.get("tries", default=0)
                if tries >= self.max_retries:
                    return w.StopEvent(result="gave up")
                await ctx.store.set("tries", tries + 1)
                if isinstance(ev, w.StartEvent):
                    passage = ev.get("passage")
                    if not passage:
                        return w.StopEvent(result="Please provide some text in input")
                    hint = ""
                else:
                    passage, hint = ev.passage, f" (not {ev.wrong})"
                output = await self.model.complete(passage + hint)
                return Extracted(output=output, passage=passage)

            @w.step
            async def validate(self, ev: Extracted) -> w.StopEvent | Invalid:
                try:
                    car = Car.model_validate_json(ev.output)
                except ValidationError as error:
                    count = error.error_count()
                    return Invalid(
                        error=str(count), wrong=ev.output, passage=ev.passage
                    )
                return w.StopEvent(result=car.model_dump())

        good = '{"brand": "Fiat", "power": 100}'
        model = Model('{"brand": "Fiat"}', "no JSON", good)
        flow = Reflection(model, timeout=30, verbose=False)
        answers = [await flow.run(passage="A Fiat with 100 horse powers.")]
        answers.append(await flow.run())
        flow.model = Model(*["no"] * 3)
        answers.append(await flow.run(passage="x"))
        return [answers, model.prompts]

    assert await same(program) == [
        [
            {"brand": "Fiat", "power": 100},
            "Please provide some text in input",
            "gave up",
        ],
        [
            "A Fiat with 100 horse powers.",
            'A Fiat with 100 horse powers. (not {"brand": "Fiat"})',
            "A Fiat with 100 horse powers. (not no JSON)",
        ],
    ]


async def test_a_person_is_asked_between_two_steps():
    async def program(w):
        class Draft(w.InputRequiredEvent):
            text: str

        class Review(w.HumanResponseEvent):
            verdict: str
            comment: str = ""

        class Reviewed(w.Workflow):
            @w.step
            async def write(self, ctx: w.Context, ev: w.StartEvent) -> Draft:
                await ctx.store.set("drafts", [ev.topic])
                return Draft(text=f"About {ev.topic}")

            @w.step
            async def judge(self, ctx: w.Context, ev: Review) -> Draft | w.StopEvent:
                async with ctx.store.edit_state() as state:
                    state["drafts"].append(ev.comment)
                if ev.verdict == "no":
                    return Draft(text=f"Better: {ev.comment}")
                drafts = await ctx.store.get("drafts")
                return w.StopEvent(result={"drafts": drafts, "verdict": ev.verdict})

        handler = Reviewed(timeout=30).run(topic="events")
        texts = []
        async for event in handler.stream_events():
            if isinstance(event, Draft):
                texts.append(event.text)
                verdict = "yes" if len(texts) == 3 else "no"
                handler.ctx.send_event(
                    Review(verdict=verdict, comment=f"comment {len(texts)}")
                )
        return [texts, await handler]

    assert await same(program) == [
        ["About events", "Better: comment 1", "Better: comment 2"],
        {
            "drafts": ["events", "comment 1", "comment 2", "comment 3"],
            "verdict": "yes",
        },
    ]


async def test_a_tool_asks_for_leave_inside_a_step():
    async def program(w):
        class Call(w.Event):
            tool: str
            number: int

        class Done(w.Event):
            line: str

        class Agent(w.Workflow):
            @w.step
            async def plan(self, ctx: w.Context, ev: w.StartEvent) -> Call | None:
                await ctx.store.set("count", len(ev.tools))
                for number, tool in enumerate(ev.tools):
                    ctx.send_event(Call(tool=tool, number=number))

            @w.step(num_workers=1)
            async def act(self, ctx: w.Context, ev: Call) -> Done:
                if ev.tool.startswith("delete"):
                    answer = await ctx.wait_for_event(
                        w.HumanResponseEvent,
                        waiter_id=f"leave-{ev.number}",
                        waiter_event=w.InputRequiredEvent(
                            prefix=f"{ev.tool}?", number=ev.number
                        ),
                        requirements={"number": ev.number},
                    )
                    if answer.response != "yes":
                        return Done(line=f"{ev.tool}: refused")
                return Done(line=f"{ev.tool}: done")

            @w.step
            async def report(self, ctx: w.Context, ev: Done) -> w.StopEvent | None:
                count = await ctx.store.get("count")
                lines = ctx.collect_events(ev, [Done] * count)
                if lines is None:
                    return None
                return w.StopEvent(result=sorted(done.line for done in lines))

        handler = Agent(timeout=30).run(tools=["read", "delete a", "delete b"])
        asked = []
        async for event in handler.stream_events():
            if isinstance(event, w.InputRequiredEvent):
                asked.append(event.prefix)
                response = "yes" if event.prefix == "delete a?" else "no"
                await handler.send_event(
                    w.HumanResponseEvent(response=response, number=event.number)
                )
        return [sorted(asked), await handler]

    assert await same(program) == [
        ["delete a?", "delete b?"],
        ["delete a: done", "delete b: refused", "read: done"],
    ]


async def test_a_query_is_split_searched_in_parallel_and_merged():
    async def program(w):
        class SubQuery(w.Event):
            text: str
            source: str

        class Result(w.Event):
            source: str
            texts: list[str]

        class Research(w.Workflow):
            at_work = most = 0

            @w.step
            async def split(self, ctx: w.Context, ev: w.StartEvent) -> SubQuery | None:
                await ctx.store.set("query", ev.query)
                for source in ev.sources:
                    ctx.send_event(SubQuery(text=ev.query, source=source))
                return None

            @w.step(num_workers=2)
            async def search(self, ctx: w.Context, ev: SubQuery) -> Result:
                self.at_work += 1
                self.most = max(self.most, self.at_work)
                texts = await Index().search(ev.text, top_k=1)
                await asyncio.sleep(0.001)
                self.at_work -= 1
                ctx.write_event_to_stream(w.Event(source=ev.source))
                return Result(source=ev.source, texts=texts)

            @w.step
            async def merge(self, ctx: w.Context, ev: Result) -> w.StopEvent | None:
                results = ctx.collect_events(ev, [Result] * 5)
                if results is None:
                    return None
                merged = {result.source: result.texts for result in results}
                return w.StopEvent(result=merged)

        flow = Research(timeout=30)
        sources = ["docs", "web", "mail", "code", "chat"]
        handler = flow.run(query="stream of events", sources=sources)
        streamed = [
            event.source
            async for event in handler.stream_events()
            if not isinstance(event, w.StopEvent)
        ]
        result = await handler
        return [sorted(streamed), sorted(result), flow.most]

    names = ["chat", "code", "docs", "mail", "web"]
    assert await same(program) == [names, names, 2]


async def test_words_are_streamed_while_they_are_made():
    async def program(w):
        class Token(w.Event):
            delta: str

        class Written(w.Event):
            text: str

        class Writer(w.Workflow):
            @w.step
            async def write(self, ctx: w.Context, ev: w.StartEvent) -> Written:
                text = ""
                for word in ev.text.split():
                    await asyncio.sleep(0)
                    ctx.write_event_to_stream(Token(delta=word))
                    text += word.upper() + " "
                return Written(text=text.strip())

            @w.step
            async def finish(self, ctx: w.Context, ev: Written) -> w.StopEvent:
                ctx.write_event_to_stream(Token(delta="[end]"))
                return w.StopEvent(result=ev.text)

        handler = Writer(timeout=30).run(text="one two three")
        deltas, last = [], None
        async for event in handler.stream_events():
            if isinstance(event, Token):
                deltas.append(event.delta)
            elif isinstance(event, w.StopEvent):
                last = str(event.result)
        return [deltas, last, await handler]

    assert await same(program) == [
        ["one", "two", "three", "[end]"],
        "ONE TWO THREE",
        "ONE TWO THREE",
    ]


class Turn(BaseModel):
    role: str
    text: str


class Conversation(BaseModel):
    user: str = "nobody"
    turns: list[Turn] = Field(default_factory=list)
    counts: dict[str, int] = Field(default_factory=dict)


async def test_a_conversation_keeps_its_state_over_runs():
    async def program(w):
        class Heard(w.Event):
            text: str

        class Chat(w.Workflow):
            @w.step
            async def hear(
                self, ctx: w.Context[Conversation], ev: w.StartEvent
            ) -> Heard:
                async with ctx.store.edit_state() as state:
                    state.turns.append(Turn(role="user", text=ev.text))
                    state.counts["user"] = state.counts.get("user", 0) + 1
                await ctx.store.set("counts.last", len(ev.text))
                return Heard(text=ev.text)

            @w.step
            async def answer(
                self, ctx: w.Context[Conversation], ev: Heard
            ) -> w.StopEvent:
                state = await ctx.store.get_state()
                text = f"{state.user}, you said {ev.text!r} ({len(state.turns)})"
                async with ctx.store.edit_state() as state:
                    state.turns.append(Turn(role="model", text=text))
                return w.StopEvent(result=text)

        flow = Chat(timeout=30)
        ctx = w.Context(flow)
        async with ctx.store.edit_state() as state:
            state.user = "Ada"
        answers = [await flow.run(ctx=ctx, text=text) for text in ("hi", "bye")]
        saved = json.dumps(ctx.to_dict())
        later = w.Context.from_dict(flow, json.loads(saved))
        answers.append(await flow.run(ctx=later, text="again"))
        state = await later.store.get_state()
        return [answers, [turn.role for turn in state.turns], state.counts]

    answers, roles, counts = await same(program)
    assert answers[-1] == "Ada, you said 'again' (5)"
    assert roles == ["user", "model"] * 3
    assert counts == {"user": 3, "last": 5}


async def test_a_run_is_saved_half_way_and_goes_on_from_json():
    async def program(w):
        @importable
        class Chapter(w.Event):
            number: int

        @importable
        class Approval(w.HumanResponseEvent):
            approved: bool

        @importable
        class Ask(w.InputRequiredEvent):
            chapters: int

        class Book(w.Workflow):
            @w.step
            async def plan(self, ctx: w.Context, ev: w.StartEvent) -> Chapter:
                await ctx.store.set("title", ev.title)
                return Chapter(number=1)

            @w.step
            async def write(self, ctx: w.Context, ev: Chapter) -> Chapter | Ask:
                chapters = await ctx.store.get("chapters", default=[])
                await ctx.store.set("chapters", [*chapters, f"chapter {ev.number}"])
                if ev.number < 3:
                    return Chapter(number=ev.number + 1)
                return Ask(chapters=3)

            @w.step
            async def publish(self, ctx: w.Context, ev: Approval) -> w.StopEvent:
                chapters = await ctx.store.get("chapters")
                title = await ctx.store.get("title")
                return w.StopEvent(result=[title, chapters, ev.approved])

        handler = Book(timeout=30).run(title="Steps")
        async for event in handler.stream_events():
            if isinstance(event, Ask):
                break
        saved = json.dumps(handler.ctx.to_dict())
        await handler.cancel_run()

        # … and on another day, in another process:
        flow = Book(timeout=30)
        ctx = w.Context.from_dict(flow, json.loads(saved))
        handler = flow.run(ctx=ctx)
        handler.ctx.send_event(Approval(approved=True))
        return await handler

    assert await same(program) == [
        "Steps",
        ["chapter 1", "chapter 2", "chapter 3"],
        True,
    ]


async def test_calls_are_retried_and_then_rescued():
    async def program(w):
        class Fetched(w.Event):
            url: str
            text: str

        class Page(w.Event):
            url: str

        class Gone(Exception): ...

        calls = []

        class Fetching(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> list[Page]:
                return [Page(url=url) for url in ev.urls]

            @w.step(
                retry_policy=w.retry_policy(
                    retry=w.retry_if_exception_type((TimeoutError, Gone)),
                    wait=w.wait_exponential(multiplier=0.001, max=0.002),
                    stop=w.stop_after_attempt(3),
                ),
            )
            async def fetch(self, ctx: w.Context, ev: Page) -> Fetched:
                attempt = ctx.retry_info().retry_number
                calls.append((ev.url, attempt))
                if ev.url == "flaky" and attempt < 2:
                    raise TimeoutError(f"attempt {attempt}")
                if ev.url == "gone":
                    raise Gone(ev.url)
                return Fetched(url=ev.url, text="text")

            @w.catch_error(for_steps=["fetch"], max_recoveries=2)
            async def rescue(self, ctx: w.Context, ev: w.StepFailedEvent) -> Fetched:
                kind = type(ev.exception).__name__
                ctx.write_event_to_stream(w.Event(rescued=ev.input_event.url))
                return Fetched(
                    url=ev.input_event.url, text=f"{kind} after {ev.attempts}"
                )

            @w.step
            async def gather(self, pages: list[Fetched]) -> w.StopEvent:
                return w.StopEvent(result={page.url: page.text for page in pages})

        handler = Fetching(timeout=30).run(urls=["fine", "flaky", "gone"])
        seen = [shown(event) async for event in handler.stream_events()]
        result = await ending(handler)
        return [sorted(calls), seen[:-1], sorted(result.items())]

    assert await same(program) == [
        [
            ("fine", 0),
            *[("flaky", n) for n in range(3)],
            *[("gone", n) for n in range(3)],
        ],
        [("Event", {"rescued": "gone"})],
        [("fine", "text"), ("flaky", "text"), ("gone", "Gone after 3")],
    ]


async def test_a_router_sends_questions_to_the_branch_that_knows():
    async def program(w):
        class Math(w.Event):
            question: str

        class Chat(w.Event):
            question: str

        class Draft(w.Event):
            text: str
            by: str

        class Router(w.Workflow):
            @w.step
            async def route(self, ev: w.StartEvent) -> Math | Chat:
                kind = Math if any(c.isdigit() for c in ev.question) else Chat
                return kind(question=ev.question)

            @w.step
            async def calculate(self, ev: Math) -> Draft:
                left, right = ev.question.split("+")
                return Draft(text=str(int(left) + int(right)), by="calculate")

            @w.step
            async def talk(self, ev: Chat) -> Draft:
                return Draft(text=f"Let us talk about {ev.question}.", by="talk")

            @w.step
            async def polish(self, ctx: w.Context, ev: Draft) -> w.StopEvent:
                return w.StopEvent(result=f"{ev.text} [{ev.by}]")

        flow = Router()
        questions = ["1 + 2", "steps", "20 + 3"]
        return await asyncio.gather(*[flow.run(question=q) for q in questions])

    assert await same(program) == [
        "3 [calculate]",
        "Let us talk about steps. [talk]",
        "23 [calculate]",
    ]
