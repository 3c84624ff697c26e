"""Have something happen at one bytecode of the library."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Self

import batcher.testing

HOUSE = str(Path(batcher.__file__).parent)
CLOCK = batcher.testing.__file__  # that of the tests: in there, nobody interferes


class Interference:
    """Counts the bytecodes of the library that run, and calls *intrude* before the one with the number *at*.

    As a finalizer does, which may run before any bytecode; or a signal handler, which may raise.

    :param allowed: where it may be; the first such place from *at* on
    """

    def __init__(
        self,
        at: int = -1,
        intrude: Callable[[], object] | None = None,
        allowed: Callable[[CodeType, int], bool] = lambda code, offset: True,
    ) -> None:
        self.count = 0
        self.where = ""
        self.places: dict[tuple[CodeType, int], list[int]] = {}  # each bytecode that has run -> when
        self._at = at
        self._intrude = intrude
        self._allowed = allowed

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        file = frame.f_code.co_filename
        if not file.startswith(HOUSE) or file == CLOCK:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        if event == "opcode":
            self.count += 1
            if self._intrude is None:
                self.places.setdefault((frame.f_code, frame.f_lasti), []).append(self.count)
            elif self.count >= self._at and not self.where and self._allowed(frame.f_code, frame.f_lasti):
                code = frame.f_code
                self.where = f"{code.co_qualname} at {code.co_filename}:{frame.f_lineno}"
                self._intrude()
        return self._step


@cache
def signalled(code: CodeType) -> frozenset[int]:
    """Return where the interpreter looks for signals, of whose handlers one may raise.

    At the beginning of a function, after calls, and where a loop begins anew. Not behind ``__enter__``: no program
    could be sure of its ``with``.
    """
    offsets = set()
    before, one_before = "", ""
    for instruction in dis.get_instructions(code):
        if before == "RESUME" or (before.startswith("CALL") and one_before != "LOAD_SPECIAL"):
            offsets.add(instruction.offset)
        if instruction.opname.startswith("JUMP_BACKWARD") and "NO_INTERRUPT" not in instruction.opname:
            offsets.add(int(instruction.argval))
        if instruction.opname == "RESUME" and (instruction.arg or 0) >= 2:
            before = ""  # behind an await nobody looks, or what is awaited would be left hanging
        elif instruction.opname not in ("CACHE", "PRECALL"):
            before, one_before = instruction.opname, before
    return frozenset(offsets)
