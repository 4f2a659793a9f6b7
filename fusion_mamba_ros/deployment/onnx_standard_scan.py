# SPDX-License-Identifier: Apache-2.0
"""The selective scan as standard ONNX operators, for runtimes without the operator of this package.

A sequence is cut into chunks. Step i of all chunks is computed at once: first with an empty state at the start of each
chunk, which gives the state that the chunk adds; then the states at the starts follow from one chunk to the next; then
the steps are computed again with them. Every factor is exp(delta A), at most 1, or a product of such factors. Nothing
is divided by a product of decays, which underflows after some dozen steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.deployment.onnx_graph import OnnxGraph

CHUNK = 32
"""Steps of a chunk. More steps need less memory at once and more nodes."""

FloatArray = npt.NDArray[np.float32]


class StandardScan:
    """The nodes of one scan of a map of ``channels``, ``height`` and ``width``, with ``A`` (K, D, N) as constant."""

    def __init__(self, graph: OnnxGraph, A: FloatArray, channels: int, height: int, width: int) -> None:
        self._graph = graph
        self._A = A
        self._directions, _, self._states = A.shape
        self._channels, self._height, self._width = channels, height, width
        self._length = height * width
        self._steps = min(CHUNK, self._length)
        self._chunks = -(-self._length // self._steps)

    def add(
        self, u: str, delta: str, B: str, C: str, D: FloatArray | None, delta_bias: FloatArray | None, *, softplus: bool
    ) -> str:
        """Add the nodes and return the name of the result, (batch, D, H, W).

        ``u`` (batch, D, H, W), ``delta`` (batch, K, D, H, W), ``B`` and ``C`` (batch, K, N, H, W) are names of values.
        """
        graph, K, channels, states = self._graph, self._directions, self._channels, self._states
        step = self._in_scan_order([delta], channels)
        if delta_bias is not None:
            step = graph.add("Add", step, graph.constant(delta_bias.reshape(1, K, 1, channels)))
        if softplus:
            step = graph.add("Softplus", step)
        signal = graph.add("Mul", step, self._in_scan_order([u] * K, channels))
        steps = self._by_step(step, (channels, 1))
        signals = self._by_step(signal, (channels, 1))
        inputs = self._by_step(self._in_scan_order([B], states), (1, states))
        outputs = self._by_step(self._in_scan_order([C], states), (states, 1))

        rates = graph.constant(self._A[None, :, None])
        decays = [graph.add("Exp", graph.add("Mul", delta_i, rates)) for delta_i in steps]
        added = [graph.add("Mul", x, b) for x, b in zip(signals, inputs, strict=True)]
        reached = self._follow(decays, added, None)
        if self._chunks > 1:
            through = graph.add("Exp", graph.add("Mul", graph.add("Sum", *steps), rates))
            reached = self._follow(
                decays, added, self._delayed(self._prefix(through, reached[-1], self._chunks), self._chunks)
            )
        y = [graph.add("MatMul", state, c) for state, c in zip(reached, outputs, strict=True)]
        result = self._to_map(y)
        if D is None:
            return result
        skipped = graph.add("Mul", u, graph.constant(D.sum(0).reshape(1, channels, 1, 1)))
        return graph.add("Add", result, skipped)

    def _follow(self, decays: Sequence[str], added: Sequence[str], start: str | None) -> list[str]:
        """Return the state after each step: h = decay h + added. Without ``start`` the first state is zero."""
        states: list[str] = []
        for decay, value in zip(decays, added, strict=True):
            before = states[-1] if states else start
            if before is not None:
                value = self._graph.add("Add", self._graph.add("Mul", decay, before), value)
            states.append(value)
        return states

    def _delayed(self, states: str, count: int) -> str:
        """Return ``states`` (``count`` along axis 2) one element later: zero first, without the last."""
        before = self._slice(states, 0, count - 1)
        return self._graph.add("Pad", before, self._graph.integers(0, 0, 1, 0, 0, 0, 0, 0, 0, 0))

    def _prefix(self, factors: str, values: str, count: int) -> str:
        """Return h = factor h + value after each of ``count`` elements of axis 2, in chunks of chunks where many."""
        graph, groups = self._graph, -(-count // CHUNK)
        tail = (self._channels, self._states)
        if groups == 1:
            states = self._follow(self._split(factors, 2, count), self._split(values, 2, count), None)
            return graph.add("Concat", *states, axis=2)
        if groups * CHUNK > count:
            padding = graph.integers(*[0] * 7, groups * CHUNK - count, 0, 0)
            factors, values = (graph.add("Pad", x, padding) for x in (factors, values))
        shape = graph.integers(0, self._directions, groups, CHUNK, *tail)
        decays, added = (
            [
                graph.add("Squeeze", part, graph.integers(3))
                for part in self._split(graph.add("Reshape", x, shape), 3, CHUNK)
            ]
            for x in (factors, values)
        )
        through = decays[0]
        for decay in decays[1:]:
            through = graph.add("Mul", through, decay)
        starts = self._delayed(self._prefix(through, self._follow(decays, added, None)[-1], groups), groups)
        states = [graph.add("Unsqueeze", x, graph.integers(3)) for x in self._follow(decays, added, starts)]
        whole = graph.add("Concat", *states, axis=3)
        flat = graph.add("Reshape", whole, graph.integers(0, self._directions, groups * CHUNK, *tail))
        return flat if groups * CHUNK == count else self._slice(flat, 0, count)

    def _in_scan_order(self, maps: Sequence[str], features: int) -> str:
        """Return maps as (batch, K, steps * chunks, features): step 0 of all chunks, then step 1 of all, and so on.

        ``maps`` is one value (batch, K, F, H, W), or one value (batch, F, H, W) for each direction.
        """
        graph, K = self._graph, self._directions
        if len(maps) == 1:
            tokens = graph.add("Reshape", maps[0], graph.integers(0, K, features, self._length))
            tokens = graph.add("Transpose", tokens, perm=[0, 1, 3, 2])
            parts = self._split(tokens, 1, K)
        else:
            tokens = graph.add("Reshape", maps[0], graph.integers(0, 1, features, self._length))
            parts = [graph.add("Transpose", tokens, perm=[0, 1, 3, 2])] * K
        walked = [
            graph.add("Gather", part, graph.constant(self._visits(direction)), axis=2)
            for direction, part in enumerate(parts)
        ]
        return walked[0] if K == 1 else graph.add("Concat", *walked, axis=1)

    def _by_step(self, tokens: str, tail: tuple[int, int]) -> list[str]:
        """Return the tokens of each step, (batch, K, M, *tail)."""
        shape = self._graph.integers(0, self._directions, self._steps * self._chunks, *tail)
        return self._split(self._graph.add("Reshape", tokens, shape), 2, self._steps)

    def _to_map(self, y: Sequence[str]) -> str:
        """Return the sum of the directions as (batch, D, H, W). ``y`` holds (batch, K, M, D, 1) for each step."""
        graph, K = self._graph, self._directions
        joined = graph.add("Concat", *y, axis=2) if len(y) > 1 else y[0]
        tokens = graph.add("Reshape", joined, graph.integers(0, K, self._steps * self._chunks, self._channels))
        walked = [
            graph.add("Gather", part, graph.constant(self._tokens(direction)), axis=2)
            for direction, part in enumerate(self._split(tokens, 1, K))
        ]
        summed = walked[0] if K == 1 else graph.add("Sum", *walked)
        maps = graph.add("Transpose", summed, perm=[0, 1, 3, 2])
        return graph.add("Reshape", maps, graph.integers(0, self._channels, self._height, self._width))

    def _walk(self, direction: int) -> npt.NDArray[np.int64]:
        """Return the pixels in the order of a direction: rows, columns, rows reversed, columns reversed."""
        pixels = np.arange(self._length, dtype=np.int64).reshape(self._height, self._width)
        walked = (pixels if direction % 2 == 0 else pixels.T).reshape(-1)
        return walked if direction < 2 else walked[::-1]

    def _visits(self, direction: int) -> npt.NDArray[np.int64]:
        """Return the pixel of each token of `_in_scan_order`. Tokens after the end repeat the last pixel."""
        times = np.arange(self._chunks * self._steps).reshape(self._chunks, self._steps).T.reshape(-1)
        return self._walk(direction)[np.minimum(times, self._length - 1)]

    def _tokens(self, direction: int) -> npt.NDArray[np.int64]:
        """Return the token of each pixel."""
        times = np.argsort(self._walk(direction))
        return times % self._steps * self._chunks + times // self._steps

    def _split(self, value: str, axis: int, count: int) -> list[str]:
        return [value] if count == 1 else self._graph.add_with_outputs(count, "Split", value, axis=axis)

    def _slice(self, value: str, start: int, end: int, axis: int = 2) -> str:
        bounds = (self._graph.integers(start), self._graph.integers(end))
        return self._graph.add("Slice", value, *bounds, self._graph.integers(axis))
