"""What every journal keeps. A new one adds its id to `JOURNALS`."""

import pytest

from stepwell import Event, MemoryJournal, StartEvent, StopEvent, Workflow, step
from stepwell.errors import JournalUnavailable
from stepwell.journals.base import CallReturned, RunStarted, Settled

JOURNALS = {"memory": MemoryJournal}


@pytest.fixture(params=JOURNALS)
def journal(request):
    return JOURNALS[request.param]()


class Item(Event):
    n: int


class Flow(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(ev.n)]

    @step
    async def end(self, ev: Item) -> StopEvent | None:
        return StopEvent(result=ev.n) if ev.n == 2 else None


async def facts_of(journal, run_id, **kwargs):
    return [fact async for fact in journal.read(run_id, **kwargs)]


async def test_facts_are_read_in_the_order_they_were_appended(journal):
    assert await journal.append("a", [Settled(0.0), Settled(1.0)]) == 2
    assert await journal.append("a", [Settled(2.0)]) == 3
    assert [f.at for f in await facts_of(journal, "a")] == [0.0, 1.0, 2.0]
    assert [f.at for f in await facts_of(journal, "a", after=2)] == [2.0]


async def test_runs_are_kept_apart(journal):
    await journal.append("a", [Settled(0.0)])
    assert await facts_of(journal, "b") == []


async def test_a_run_leaves_its_whole_story(journal):
    handler = Flow(journal=journal).run(n=3, run_id="mine")
    assert await handler == 2
    facts = await facts_of(journal, "mine")
    assert isinstance(facts[0], RunStarted) and facts[0].event == StartEvent(n=3)
    returned = [f.value for f in facts if isinstance(f, CallReturned)]
    assert StopEvent(result=2) in returned
    assert [f.at for f in facts] == sorted(f.at for f in facts)


async def test_no_step_starts_before_what_started_it_is_kept(journal):
    seen = []

    class Watching(type(journal)):
        async def append(self, run_id, facts):
            seen.extend(("kept", type(f).__name__) for f in facts)
            return await super().append(run_id, facts)

    class Watched(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            seen.append("begin")
            return Item(n=1)

        @step
        async def end(self, ev: Item) -> StopEvent:
            seen.append("end")
            return StopEvent()

    await Watched(journal=Watching()).run()
    assert seen == [
        ("kept", "RunStarted"),
        "begin",
        ("kept", "CallReturned"),
        "end",
        ("kept", "CallReturned"),
    ]


async def test_a_journal_that_fails_stops_the_run_before_it_goes_on(journal):
    ran = []

    class Full(type(journal)):
        async def append(self, run_id, facts):
            if any(isinstance(f, CallReturned) for f in facts):
                raise OSError("disk full")
            return await super().append(run_id, facts)

    class Watched(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            return Item(n=1)

        @step
        async def end(self, ev: Item) -> StopEvent:
            ran.append(ev)
            return StopEvent()

    with pytest.raises(JournalUnavailable, match="disk full") as caught:
        await Watched(journal=Full()).run()
    assert isinstance(caught.value.__cause__, OSError)
    assert not ran
