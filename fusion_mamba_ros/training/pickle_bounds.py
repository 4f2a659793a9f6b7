# SPDX-License-Identifier: Apache-2.0
"""Look through a pickle before it is loaded, so that a few bytes cannot take gigabytes or the whole stack."""

from __future__ import annotations

import pickletools
from typing import Any

MOST_BYTES = 64_000_000
# Weights of the largest published models have about 100 000 opcodes, nested some 40 deep.
_MOST_OPCODES = 2_000_000
_MOST_DEPTH = 500
# BYTEARRAY8 takes memory before it reads; the others name code or buffers outside of the file.
_REFUSED = frozenset({"BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER", "EXT1", "EXT2", "EXT4", "PERSID"})
_PUTS, _GETS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"}), frozenset({"GET", "BINGET", "LONG_BINGET"})
_MARK = -1


def check_pickle(data: bytes) -> None:
    """Raise ``ValueError`` if loading ``data`` could take memory out of proportion or nest without bound.

    Follows the depth of every object on the stack and in the memo, without making any of them.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"its pickle has {len(data)} bytes, but at most {MOST_BYTES} are read")
    stack: list[int] = []
    memo: dict[int, int] = {}
    for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        name = opcode.name
        if name in _REFUSED or number > _MOST_OPCODES:
            raise ValueError(f"its pickle has the opcode {name} or more than {_MOST_OPCODES} of them")
        if name in _PUTS or name == "MEMOIZE":
            key = len(memo) if name == "MEMOIZE" else int(argument or 0)
            # The loader makes a table of this length.
            if key > number:
                raise ValueError(f"its pickle numbers an object {key} after {number} opcodes")
            memo[key] = stack[-1]
        elif name in _GETS:
            stack.append(memo[int(argument or 0)])
        else:
            _apply(opcode, stack)
            if stack and stack[-1] > _MOST_DEPTH:
                raise ValueError(f"its pickle is nested deeper than {_MOST_DEPTH} levels")


def _apply(opcode: Any, stack: list[int]) -> None:
    """Replace what ``opcode`` takes off the stack by what it puts there, one level deeper than what it took."""
    if opcode.name == "MARK":
        stack.append(_MARK)
        return
    taken: list[int] = []
    before = opcode.stack_before
    if pickletools.markobject in before:
        while (depth := stack.pop()) != _MARK:
            taken.append(depth)
        before = before[: before.index(pickletools.markobject)]
    taken += [stack.pop() for _ in before]
    items = [depth for depth in taken if depth != _MARK]
    if opcode.name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD") and items:
        # A container takes items in: it does not grow deeper with each portion.
        *contents, container = items
        stack.append(max([container, *(depth + 1 for depth in contents)]))
        return
    depth = 1 + max(items, default=0)
    if opcode.name == "DUP":
        stack += [depth, depth]
        return
    stack += [depth] * len(opcode.stack_after)
