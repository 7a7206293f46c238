"""The engines: in each file an `ENGINE` that does the jobs its own way.

What an engine cannot do it has no method for. The files bear the names of the libraries
they meet; nothing else imports these.

Methods, and what they give:
    three()             start(k): a run of three steps; its answer is k + 2
    loop()              start(n): a run of n steps; its answer is "zero"
    chain(n)            start(): a run of n distinct steps; its answer is n
    fan_out(workers)    start(n): a run that adds up 0 … n - 1, a call for each
    fan_out_free(n)     the same, with room for all n at once
    lists(workers), lists_free(n)   the same, with returned lists
    idle()              start(n): a run that sleeps n times 10 ms; "rested"
    busy()              start(deadline): a run that never suspends till then; "late"
    stream(produce, take)   have a run write what `produce()` yields; `take` it outside
    state()             start(n): a run that sets and gets n times, and adds up
    pending()           an object with begin(n), take(), resume(data)
    finished            whether the runs of `loop` have a `ctx` to save
    sleepers()          an object with begin(n), cancel(), started, stopped
    stalled(timeout)    "failed", as soon as a run that cannot end is reported
    IMPORT, FIRST       programs: what to import; a run of three steps that prints 2
`start(…)` gives something to await.
"""
