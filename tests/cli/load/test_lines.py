"""Lines of any length, in bounded memory."""

from __future__ import annotations

from io import BytesIO

import pytest

from batcher.cli.load.lines import Lines, RecordTooLong


def lines_of(data: bytes) -> Lines:
    return Lines(BytesIO(data), len(data))


def test_lines_are_numbered_from_one_and_counted_in_bytes() -> None:
    """
    Number and offset always say how far the file has been read.
    """
    lines = lines_of(b"a\nbb\r\nccc")

    assert [(line, lines.number, lines.offset) for line in lines] == [(b"a\n", 1, 2), (b"bb\r\n", 2, 6), (b"ccc", 3, 9)]


def test_a_byte_order_mark_is_no_content() -> None:
    """
    The mark that Excel puts before UTF-8 is dropped at the start, and only there.
    """
    assert list(lines_of(b"\xef\xbb\xbfa\n\xef\xbb\xbfb")) == [b"a\n", b"\xef\xbb\xbfb"]


def test_what_is_appended_later_is_not_read() -> None:
    """
    The file ends where it ended when it was opened.
    """
    lines = Lines(BytesIO(b"a\nb\nappended\n"), 4)

    assert list(lines) == [b"a\n", b"b\n"]


@pytest.mark.parametrize(("tail", "rest"), [(b"\nnext\n", [b"next\n"]), (b"", [])], ids=["in the middle", "at the end"])
def test_an_endless_line_is_skipped_not_held(monkeypatch: pytest.MonkeyPatch, tail: bytes, rest: list[bytes]) -> None:
    """
    A line beyond the limit costs one fault; the line after it is read as usual.
    """
    monkeypatch.setattr("batcher.cli.load.lines.MAX_RECORD_BYTES", 8)
    lines = lines_of(b"ok\n" + b"x" * 3_000_000 + tail)

    assert next(lines) == b"ok\n"
    lines.held = 0
    with pytest.raises(RecordTooLong):
        next(lines)
    lines.held = 0
    assert list(lines) == rest


def test_many_lines_of_one_record_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A quote that nobody closes cannot gather the whole file in memory.
    """
    monkeypatch.setattr("batcher.cli.load.lines.MAX_RECORD_BYTES", 4)
    lines = lines_of(b"a\nb\nc\nd\n")

    assert [next(lines), next(lines)] == [b"a\n", b"b\n"]
    with pytest.raises(RecordTooLong):
        next(lines)
    lines.held = 0
    assert next(lines) == b"d\n"
