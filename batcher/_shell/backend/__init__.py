"""Waking and timing on asyncio and on trio. The only room that knows the backends; each is imported where it runs."""
