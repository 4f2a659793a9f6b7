# SPDX-License-Identifier: Apache-2.0
"""Check a pickle before it is loaded, so that a small file can neither exhaust memory nor overflow the stack."""

from __future__ import annotations

import pickletools
from typing import Any

MOST_BYTES = 64_000_000
# The weights of the largest published models have about 100 000 opcodes and about 40 levels of nesting.
_MOST_OPCODES = 2_000_000
_MOST_DEPTH = 500
# BYTEARRAY8 allocates memory before it reads. The other opcodes refer to code or buffers outside the file.
_REFUSED = frozenset({"BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER", "EXT1", "EXT2", "EXT4", "PERSID"})
_PUTS, _GETS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"}), frozenset({"GET", "BINGET", "LONG_BINGET"})
_MARK = -1


def check_pickle(data: bytes) -> None:
    """Raise ``ValueError`` if loading ``data`` could take far more memory than its size, or nest too deeply.

    The check follows the nesting depth of every object on the stack and in the memo. It creates no object.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"its pickle has {len(data)} bytes, but at most {MOST_BYTES} are read")
    stack: list[int] = []
    memo: dict[int, int] = {}
    for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        name = opcode.name
        if name in _REFUSED:
            raise ValueError(f"its pickle has the opcode {name}, which weights do not need")
        if number > _MOST_OPCODES:
            raise ValueError(f"its pickle has more than {_MOST_OPCODES} opcodes")
        if name in _PUTS or name == "MEMOIZE":
            key = len(memo) if name == "MEMOIZE" else int(argument or 0)
            # The loader allocates a table of this length.
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
    """Apply ``opcode`` to the stack of depths.

    The entries that the opcode pops are replaced by the ones that it pushes. A pushed entry is one level deeper than
    the deepest popped one.
    """
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
        # These opcodes add items to a container. The depth of the container does not grow with each call.
        *contents, container = items
        stack.append(max([container, *(depth + 1 for depth in contents)]))
        return
    depth = 1 + max(items, default=0)
    if opcode.name == "DUP":
        stack += [depth, depth]
        return
    stack += [depth] * len(opcode.stack_after)
