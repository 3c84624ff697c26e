"""Somebody interferes at every bytecode: ``python -m tests.interference`` plays all places, CI a sample."""
