from stepwell import Workflow, step, Event, Context, StartEvent, StopEvent
from typing import Union

class SuccessEvent(Event):
    data: str

class FallbackEvent(Event):
    error: str

class Graceful(Workflow):
    def __init__(self, do_risky_thing, **kwargs):
        super().__init__(**kwargs)
        self.do_risky_thing = do_risky_thing

    @step
    async def risky_step(self, ctx: Context, ev: StartEvent) -> Union[SuccessEvent, FallbackEvent]:
        try:
            result = await self.do_risky_thing()
            return SuccessEvent(data=result)
        except Exception as e:
            return FallbackEvent(error=str(e))

    @step
    async def succeeded(self, ev: SuccessEvent) -> StopEvent:
        return StopEvent(result=ev.data)

    @step
    async def fell_back(self, ev: FallbackEvent) -> StopEvent:
        return StopEvent(result=f"fallback: {ev.error}")
