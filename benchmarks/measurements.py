"""How each job is timed inside a process, and the answer it must give.

What a job is, and its sizes, stands in `jobs`; how an engine does it, in `engines`.
Each function is given an engine and a size, and gives figures by name and unit. All
figures are of the kind that is better when it is less.
"""

import asyncio
import gc
import json
from time import perf_counter, process_time

from gauges import check, least, memory

WORKERS = 8
# Seconds for which a run keeps the event loop busy.
BUSY = 0.5

# -- steps, and what becomes of their number ----------------------------------


async def latency(engine, n):
    start = engine.three()
    for k in range(10):  # first uses are not what is measured
        await start(k)

    async def one_by_one():
        return [await start(k) for k in range(n)]

    spent = await least(one_by_one, [k + 2 for k in range(n)])
    return {"µs/run": spent / n * 1e6}


async def loop(engine, n):
    start = engine.loop()
    await start(10)
    return {"µs/step": await least(lambda: start(n), "zero") / n * 1e6}


async def held(engine, n):
    start = engine.loop()
    await start(10)
    with memory() as bytes_:
        run = start(n)
        got = await run
    check(got, "zero")
    del run  # not before: a caller may hold the handler for as long as it likes
    return {"kB held": max(0, bytes_.held) / 1e3}


async def chain(engine, n):
    start = engine.chain(n)
    check(await start(), n)
    return {"µs/step": await least(start, n) / n * 1e6}


async def fan_out(engine, n):
    return await add_up(engine.fan_out(WORKERS), n)


async def fan_out_free(engine, n):
    return await add_up(engine.fan_out_free(n), n)


async def lists(engine, n):
    return await add_up(engine.lists(WORKERS), n)


async def lists_free(engine, n):
    return await add_up(engine.lists_free(n), n)


async def add_up(start, n):
    await start(10)
    spent = await least(lambda: start(n), n * (n - 1) // 2)
    return {"µs/event": spent / n * 1e6}


async def naps(engine, n):
    start = engine.fan_out(50, nap=0.001)
    await start(10)
    spent = await least(lambda: start(n), n * (n - 1) // 2, perf_counter)
    return {"elapsed µs/event": spent / n * 1e6}


# -- many runs at once ---------------------------------------------------------


async def concurrent(engine, n):
    start = engine.three()
    await start(1)

    async def at_once():
        return await asyncio.gather(*(start(k) for k in range(n)))

    spent = await least(at_once, [k + 2 for k in range(n)])
    return {"µs/run": spent / n * 1e6}


async def concurrent_memory(engine, n):
    start = engine.three()
    await start(1)
    with memory() as bytes_:
        got = await asyncio.gather(*(start(k) for k in range(n)))
    check(got, [k + 2 for k in range(n)])
    return {"kB/run": bytes_.peak / n / 1e3}


async def idle(engine, n):
    start = engine.idle()
    await start(0)

    async def at_once():
        return await asyncio.gather(*(start(5) for _ in range(n)))

    return {"elapsed ms": await least(at_once, ["rested"] * n, perf_counter) * 1e3}


async def heartbeat(engine, n):
    start = engine.busy()
    await start(perf_counter())
    gaps = []

    async def beat():
        last, last_cpu = perf_counter(), process_time()
        while True:
            await asyncio.sleep(0.001)
            now, now_cpu = perf_counter(), process_time()
            gaps.append((now_cpu - last_cpu, now - last))
            last, last_cpu = now, now_cpu

    # A full garbage collection of all the modules that are loaded takes 15 ms, whoever
    # loaded them; left out, as is taking apart what finished runs held.
    gc.collect()
    gc.freeze()
    beating = asyncio.create_task(beat())
    await asyncio.sleep(0.01)
    gaps.clear()
    deadline = perf_counter() + BUSY
    runs = [start(deadline) for _ in range(n)]
    got = await asyncio.gather(*runs)
    await asyncio.sleep(0.005)
    beating.cancel()
    gc.unfreeze()
    check(got, ["late"] * n)
    # The process is busy all the time, so its processor time between two beats is
    # the gap without what other programs took.
    return {
        "worst gap, CPU ms": max(cpu for cpu, _ in gaps) * 1e3,
        "worst gap, ms": max(elapsed for _, elapsed in gaps) * 1e3,
    }


# -- stream, state, snapshots, the end -----------------------------------------


async def stream(engine, n):
    async def produce(n=n):
        for k in range(n):
            yield k
            if k % 100 == 99:
                await asyncio.sleep(0)

    async def read():
        got = []
        await engine.stream(produce, got.append)
        return got

    await engine.stream(lambda: produce(10), [].append)
    return {"µs/event": await least(read, list(range(n))) / n * 1e6}


async def stream_latency(engine, n):
    took = []

    async def produce():
        for _ in range(n + 10):
            yield perf_counter()
            await asyncio.sleep(0.001)

    await engine.stream(produce, lambda written: took.append(perf_counter() - written))
    check(len(took), n + 10)
    took = sorted(took[10:])
    return {"p50 µs": took[n // 2] * 1e6, "p99 µs": took[n * 99 // 100] * 1e6}


async def state(engine, n):
    start = engine.state()
    await start(10)
    return {"µs/set+get": await least(lambda: start(n), n * (n - 1) // 2) / n * 1e6}


async def snapshot(engine, n):
    pending = engine.pending()
    await pending.begin(n)
    spent, data = least_of_three(pending.take)
    check(await pending.resume(json.loads(json.dumps(data))), n * (n - 1) // 2)
    return {"µs/event": spent / n * 1e6}


async def finished(engine, n):
    start = engine.loop()
    run = start(n)
    check(await run, "zero")
    spent, data = least_of_three(run.ctx.to_dict)
    check(json.loads(json.dumps(data))["is_running"], False)
    return {"ms": spent * 1e3}


def least_of_three(take):
    found = []
    for _ in range(3):
        began = process_time()
        data = take()
        found.append(process_time() - began)
    return min(found), data


async def cancel(engine, n):
    sleepers = engine.sleepers()
    await sleepers.begin(n)
    began = process_time()
    await sleepers.cancel()
    spent = process_time() - began
    check((sleepers.started, sleepers.stopped), (n, n))
    return {"µs/worker": spent / n * 1e6}


async def cancel_memory(engine, n):
    sleepers = engine.sleepers()
    with memory() as bytes_:
        await sleepers.begin(n)
    await sleepers.cancel()
    check((sleepers.started, sleepers.stopped), (n, n))
    return {"kB/worker": bytes_.held / n / 1e3}


async def stalled(engine, n):
    # Once at least it is reported; a run's own timeout is 2 s.
    began = perf_counter()
    check(await engine.stalled(2.0), "failed")
    return {"elapsed ms": (perf_counter() - began) * 1e3}
