"""The core: every decision, and nothing that waits.

No clock, no I/O, no task and no randomness: the time and the jitter are arguments. Each step changes
the state and *returns* the work (:class:`~batcher._core.verbs.Plan`); the shell does it.
"""
