# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba compare`: compare mAP50 of two evaluated detectors, with a confidence interval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("compare")
    def compare(
        first: Annotated[Path, typer.Argument(help="Folder that eval wrote, or a detections_MODE.npz.")],
        second: Annotated[Path, typer.Argument(help="The same of the other detector.")],
        mode: Annotated[str, typer.Option(help="Mode to take from the folders.")] = "fused",
        second_mode: Annotated[str | None, typer.Option(help="Mode of the second, if another.")] = None,
        samples: Annotated[int, typer.Option(min=100, help="Bootstrap samples.")] = 2000,
        seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    ) -> None:
        """Print how mAP50 differs between two evaluated detectors, with a 95 percent interval over the images.

        Example: fusion-mamba compare eval_rgb/ eval_fused/ --mode rgb_only --second-mode fused
        """
        from fusion_mamba_ros.evaluation.detection_results import DetectionResults
        from fusion_mamba_ros.evaluation.paired_bootstrap import compare_map50

        try:
            results = [
                DetectionResults.load(path / f"detections_{name}.npz" if path.is_dir() else path)
                for path, name in ((first, mode), (second, second_mode or mode))
            ]
            found = compare_map50(*results, samples=samples, seed=seed)
        except (ValueError, OSError, ImportError) as error:
            fail(error)
        typer.echo(f"mAP50  first {100 * found.first:.1f}  second {100 * found.second:.1f}  over {found.images} images")
        typer.echo(
            f"second - first = {100 * found.difference:+.1f} points, 95 % interval {100 * found.low:+.1f} to "
            f"{100 * found.high:+.1f} (paired bootstrap, {found.samples} samples); second ahead in "
            f"{100 * found.share_above_zero:.1f} % of them"
        )
