# SPDX-License-Identifier: Apache-2.0
"""Dual state space fusion against its equations."""

from typing import Any, cast

import numpy as np
import pytest
import state_space_formulas as formulas
import torch

from fusion_mamba_ros.network.dual_fusion import DualStateSpaceFusion


def expected_maps(
    module: DualStateSpaceFusion, maps: list[torch.Tensor], *, gate: bool, dual: bool
) -> list[np.ndarray]:
    """The dual attention of each stream, written out."""
    inputs = [formulas.to_array(x[0]) for x in maps]
    states, gates = [], []
    for m, x in enumerate(inputs):
        scan: Any = module.scans[0] if len(module.scans) == 1 else module.scans[m]
        if not gate:
            module.streams[m].gate_proj = module.streams[m].in_proj
        y, z = formulas.hidden_state(x, module.streams[m], scan)
        states.append(y)
        gates.append(z if gate else np.ones_like(z))
    out = []
    for m, x in enumerate(inputs):
        attended = states[m] * gates[m]
        for other, y in enumerate(states):
            if dual and other != m:
                attended = attended + y * gates[m]
        out.append(formulas.linear(attended, module.streams[m].out_proj.weight) + x)
    return out


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("dual", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("modalities", [2, 3])
def test_every_switch_follows_the_equations(gate: bool, dual: bool, shared: bool, modalities: int) -> None:
    generator = torch.Generator().manual_seed(7)
    module = DualStateSpaceFusion(8, modalities, 3, gate=gate, dual_attention=dual, share_ssm=shared)
    formulas.randomise(module, generator)
    maps = list(torch.randn(modalities, 1, 8, 3, 4, generator=generator))
    with torch.no_grad():
        out = module(*maps)
    for got, expected in zip(out, expected_maps(module, maps, gate=gate, dual=dual), strict=True):
        np.testing.assert_allclose(got[0].numpy(), expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("modalities", [2, 3])
def test_sequential_gating_reads_the_gated_states_of_the_streams_before(gate: bool, modalities: int) -> None:
    generator = torch.Generator().manual_seed(8)
    module = DualStateSpaceFusion(8, modalities, 3, gate=gate, sequential=True, directions=2)
    formulas.randomise(module, generator)
    maps = list(torch.randn(modalities, 1, 8, 3, 4, generator=generator))
    with torch.no_grad():
        out = module(*maps)
    for stream in module.streams:
        stream.gate_proj = stream.gate_proj or stream.in_proj
    inputs = [formulas.to_array(x[0]) for x in maps]
    pairs = [
        formulas.hidden_state(x, stream, cast(Any, module.scans[0]))
        for x, stream in zip(inputs, module.streams, strict=True)
    ]
    before: list[np.ndarray] = []
    for m, (y, z) in enumerate(pairs):
        attended = y + sum(before) + sum(later for later, _ in pairs[m + 1 :])
        before.append(attended * z if gate else attended)
        expected = formulas.linear(before[m], module.streams[m].out_proj.weight) + inputs[m]
        np.testing.assert_allclose(out[m][0].numpy(), expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max())


def test_shared_scan_gives_each_stream_what_it_gives_it_alone() -> None:
    torch.manual_seed(0)
    shared = DualStateSpaceFusion(8, state_size=4)
    own = DualStateSpaceFusion(8, state_size=4, share_ssm=False)
    streams: tuple[Any, Any] = (own.streams, shared.streams)
    streams[0].load_state_dict(streams[1].state_dict())
    for scan in own.scans:
        scan.load_state_dict(shared.scans[0].state_dict())
    maps = torch.randn(2, 3, 8, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(shared(*maps), own(*maps), rtol=1e-5, atol=1e-6)


def test_sharing_saves_one_set_of_scan_parameters() -> None:
    shared, own = DualStateSpaceFusion(16), DualStateSpaceFusion(16, share_ssm=False)
    saved = sum(p.numel() for p in own.parameters()) - sum(p.numel() for p in shared.parameters())
    assert saved == sum(p.numel() for p in shared.scans[0].parameters())
