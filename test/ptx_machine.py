# SPDX-License-Identifier: Apache-2.0
"""Runs compiled PTX on the CPU, so that what a GPU would execute can be tested without one.

All threads of a program take each instruction together, as arrays over threads; programs run one after the other. That
shows wrong addresses, masks, shuffles and arithmetic; it shows no race, no hardware error and no time. The hardware's
approximate functions are taken as exact. Only instructions that our kernels compile to are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

WARP = 32
_GUARD = 1 << 20
_DTYPES: dict[str, type[np.generic]] = {"f32": np.float32, "s32": np.int32, "u32": np.uint32, "b32": np.uint32}
_DTYPES |= {"s64": np.int64, "u64": np.uint64, "b64": np.uint64, "pred": np.bool_}
_COMPARE: dict[str, Callable[..., Any]] = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


class PtxMachine:
    """One kernel of a PTX module, ready to run on numpy arrays."""

    def __init__(self, ptx: str, shared_bytes: int) -> None:
        entry = ptx[ptx.index(".entry") :]
        self.parameters = re.findall(r"\.param \.\w+[^,)]*?(\w+_param_\d+)", entry[: entry.index("{")])
        self.threads = int(re.findall(r"\.reqntid (\d+)", entry)[0])
        self._shared_bytes = shared_bytes
        self._code: list[tuple[str, bool, str, list[str]]] = []
        self._labels: dict[str, int] = {}
        body = entry[entry.index("{") + 1 : entry.index("\n}")]
        for line in body.splitlines():
            line = line.split("//")[0].strip()
            if label := re.fullmatch(r"(\$\w+):", line):
                self._labels[label[1]] = len(self._code)
            elif line and not line.startswith("."):
                for statement in filter(None, (part.strip() for part in line.split(";"))):
                    predicate, negated, text = "", False, statement
                    if guard := re.match(r"@(!?)(%p\d+)\s+(.*)", statement):
                        negated, predicate, text = guard[1] == "!", guard[2], guard[3]
                    opcode, _, rest = text.partition(" ")
                    self._code.append((predicate, negated, opcode, _operands(rest)))

    def run(self, programs: int, arguments: list[np.ndarray | int]) -> None:
        """Run all programs; arrays (dense, of 4-byte numbers) are changed in place.

        Raises ``IndexError`` if a thread touches memory outside of the arrays.
        """
        self._memory = [argument for argument in arguments if isinstance(argument, np.ndarray)]
        self._starts = [_GUARD * (1 + 16 * index) for index in range(len(self._memory))]
        addresses = iter(self._starts)
        values = [next(addresses) if isinstance(value, np.ndarray) else value for value in arguments]
        # What triton appends for its own use is not read by these kernels.
        self._values = dict(zip(self.parameters, values + [0] * (len(self.parameters) - len(values)), strict=True))
        with np.errstate(all="ignore"):
            for program in range(programs):
                self._run_program(program)

    def _run_program(self, program: int) -> None:
        self._registers: dict[str, np.ndarray] = {}
        self._shared = np.zeros(self._shared_bytes, np.uint8)
        self._program = program
        place = 0
        while place < len(self._code):
            predicate, negated, opcode, operands = self._code[place]
            place += 1
            active = np.ones(self.threads, bool)
            if predicate:
                active = self._registers[predicate] ^ negated
            kind = opcode.split(".")
            if kind[0] == "bra":
                if active.any() != active.all():
                    raise NotImplementedError("threads of a program part at a branch")
                place = self._labels[operands[0]] if active.all() else place
            elif kind[0] == "ret":
                return
            elif kind[0] not in ("bar", "barrier"):
                self._execute(kind, operands, active)

    def _execute(self, kind: list[str], operands: list[str], active: np.ndarray) -> None:
        if kind[0] == "st":
            names = operands[1].strip("{} ").split(",")
            self._access(kind, operands[0], active, store=[self._read(name.strip(), "b32") for name in names])
        elif kind[0] == "ld" and kind[1] != "param":
            names = [name.strip() for name in operands[0].strip("{} ").split(",")]
            for name, value in zip(names, self._access(kind, operands[1], active, count=len(names)), strict=True):
                self._write(name, value, active)
        else:
            self._write(operands[0], self._compute(kind, operands), active)

    def _compute(self, kind: list[str], operands: list[str]) -> np.ndarray:
        name, dtype = kind[0], kind[-1]
        if name == "ld":
            return np.full(self.threads, self._values[operands[1].strip("[] ")]).astype(_DTYPES[dtype])
        if name == "setp":
            answer: np.ndarray = _COMPARE[kind[1]](self._read(operands[1], dtype), self._read(operands[2], dtype))
            return answer
        if name == "selp":
            chosen = self._read(operands[3], "pred")
            return np.where(chosen, self._read(operands[1], dtype), self._read(operands[2], dtype))
        if name == "cvt":
            return self._read(operands[1], dtype).astype(_DTYPES[kind[-2]])
        if name == "shfl":
            return self._shuffle(kind[2], operands)
        wide = kind[1] == "wide"
        result = _DTYPES[{"s32": "s64", "u32": "u64"}[dtype] if wide else dtype]
        values = [self._read(operand, dtype) for operand in operands[1:]]
        if wide:
            values = [value.astype(result) for value in values[:2]]
            if name == "mad":
                values.append(self._read(operands[3], "s64").astype(result))
        return np.asarray(_OPERATIONS[name](*values)).astype(result)

    def _shuffle(self, mode: str, operands: list[str]) -> np.ndarray:
        value, by, clamp = (self._read(operand, "u32") for operand in operands[1:4])
        if mode == "up" and clamp.any():
            raise NotImplementedError("shuffles within parts of a warp")
        thread = np.arange(self.threads)
        lane = thread % WARP
        source = {"up": lane - by.astype(int), "bfly": lane ^ by, "idx": by}[mode].astype(int)
        source = np.where((source < 0) | (source >= WARP), lane, source)
        shuffled: np.ndarray = value[thread - lane + source]
        return shuffled

    def _access(
        self, kind: list[str], place: str, active: np.ndarray, count: int = 0, store: list[np.ndarray] | None = None
    ) -> list[np.ndarray]:
        register, _, offset = place.strip("[] ").partition("+")
        shared = kind[1].startswith("shared")
        address = self._read(register.strip(), "b32" if shared else "b64").astype(np.int64) + int(offset or 0)
        loaded = []
        for index in range(len(store) if store else count):
            at = address[active] + 4 * index
            value = np.zeros(self.threads, np.uint32)
            for memory, here in self._find(shared, at):
                if store:
                    memory[at[here] >> 2] = store[index][active][here]
                else:
                    value[np.flatnonzero(active)[here]] = memory[at[here] >> 2]
            loaded.append(value)
        return loaded

    def _find(self, shared: bool, at: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return pieces of memory with the accesses that fall into each; ``at`` becomes relative to its piece."""
        if (at % 4).any():
            raise IndexError("misaligned access")
        pieces = [(0, self._shared)] if shared else list(zip(self._starts, self._memory, strict=True))
        found, known = [], np.zeros(len(at), bool)
        for start, array in pieces:
            here = (at >= start) & (at < start + array.nbytes) & ~known
            if here.any():
                at[here] -= start
                known |= here
                found.append((array.reshape(-1).view(np.uint32), np.flatnonzero(here)))
        if not known.all():
            raise IndexError(f"program {self._program} touches memory outside of its arrays")
        return found

    def _read(self, operand: str, dtype: str) -> np.ndarray:
        numpy_dtype = _DTYPES[dtype]
        if operand in self._registers:
            register = self._registers[operand]
            return register if dtype == "pred" else register.view(numpy_dtype)
        if operand == "%tid.x":
            return np.arange(self.threads).astype(numpy_dtype)
        if operand == "%ctaid.x":
            return np.full(self.threads, self._program, numpy_dtype)
        if operand == "global_smem":
            return np.zeros(self.threads, numpy_dtype)
        if operand.startswith("0f"):
            return np.full(self.threads, int(operand[2:], 16), np.uint32).view(numpy_dtype)
        return np.full(self.threads, int(operand, 0)).astype(numpy_dtype)

    def _write(self, name: str, value: np.ndarray, active: np.ndarray) -> None:
        value = value if value.dtype == np.bool_ else value.view(np.uint64 if value.itemsize == 8 else np.uint32)
        before = self._registers.get(name, np.zeros(self.threads, value.dtype))
        self._registers[name] = np.where(active, value, before)


def _operands(text: str) -> list[str]:
    """Split at the commas outside of braces and brackets."""
    return [part.strip() for part in re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+", text)]


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b as PTX has it: whole numbers are cut towards zero."""
    quotient: np.ndarray = a / b if a.dtype == np.float32 else np.trunc(a.astype(np.float64) / b)
    return quotient


def _shift_right(a: np.ndarray, by: np.ndarray) -> np.ndarray:
    shifted: np.ndarray = a >> by.astype(a.dtype)
    return shifted


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "mov": lambda a: a,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "mad": lambda a, b, c: a * b + c,
    "fma": lambda a, b, c: a.astype(np.float64) * b + c,
    "div": _quotient,
    "rem": np.fmod,
    "min": np.fmin,
    "max": np.fmax,
    "abs": np.abs,
    "neg": np.negative,
    "not": np.invert,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": lambda a, by: a << by.astype(a.dtype),
    "shr": _shift_right,
    "bfe": lambda a, start, count: (a >> start) & ((np.uint32(1) << count) - np.uint32(1)),
    "ex2": np.exp2,
}
