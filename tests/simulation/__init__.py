"""A simulator: seeded storms over the public face in virtual time, and the promises checked after each of them.

``python -m tests.simulation --help``. A seed is a :class:`~tests.simulation.plans.Plan`: how the provider behaves, who
calls when, and under which policies. ``running`` plays it, ``laws`` judges it, ``tallies`` counts what occurred.
"""
