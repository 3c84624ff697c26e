"""The command ``batcher``. Needs the extra ``cli``; nothing in the library imports it."""
