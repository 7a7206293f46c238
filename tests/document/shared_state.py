from stepwell import Workflow, step, Event, Context, StartEvent, StopEvent

class MyEvent(Event):
    pass

class SharedState(Workflow):
    @step
    async def step1(self, ctx: Context, ev: StartEvent) -> MyEvent:
        await ctx.set("important_data", {"key": "value"})
        return MyEvent()

    @step
    async def step2(self, ctx: Context, ev: MyEvent) -> StopEvent:
        data = await ctx.get("important_data")
        return StopEvent(result=data["key"])
