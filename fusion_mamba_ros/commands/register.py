# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba register`: estimate the registration of the thermal image to the RGB image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusion_mamba_ros.commands.failure import fail

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fusion_mamba_ros.datasets.pair_source import ImagePair

_BLENDS = 3


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("register")
    def register_cameras(
        rgb: Annotated[Path | None, typer.Option(help="RGB image, folder or video.")] = None,
        thermal: Annotated[Path | None, typer.Option(help="Thermal image, folder or video.")] = None,
        bag: Annotated[Path | None, typer.Option(help="Bag with both cameras, instead of --rgb and --thermal.")] = None,
        rgb_topic: Annotated[str, typer.Option(help="RGB topic of the bag.")] = "/rgb/image_raw",
        thermal_topic: Annotated[str, typer.Option(help="Thermal topic of the bag.")] = "/thermal/image_raw",
        thermal_offset: Annotated[
            float, typer.Option(help="Seconds added to the bag's thermal stamps, as pairing.thermal_offset_sec.")
        ] = 0.0,
        pairs: Annotated[int, typer.Option(min=1, help="Most pairs to use, spread over the input.")] = 24,
        polarity: Annotated[str, typer.Option(help="white_hot or black_hot.")] = "white_hot",
        threads: Annotated[int, typer.Option(min=0, help="CPU threads of OpenCV; 0: as OpenCV decides.")] = 0,
        out: Annotated[Path, typer.Option(help="YAML to write; the blend goes beside it.")] = Path("registration.yaml"),
    ) -> None:
        """Estimate the homography from thermal to RGB from ordinary scenes, without a calibration target.

        Prints the remaining misalignment of each region. A homography is exact for one depth only, so near objects keep
        a parallax. Draws checkerboard blends before and after registration. Writes a YAML file for the node
        (params_file) and for 'fusion-mamba predict --registration'. Fails if the images do not give enough evidence.

        Example: fusion-mamba register --rgb rgb.mp4 --thermal thermal.mp4 --out registration.yaml
        """
        import cv2
        from rich.console import Console
        from rich.progress import Progress

        from fusion_mamba_ros.perception.atomic_write import write_atomically
        from fusion_mamba_ros.perception.image_writer import write_image
        from fusion_mamba_ros.perception.letterbox import size_of
        from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling, scale_thermal
        from fusion_mamba_ros.registration.estimation import estimate_registration
        from fusion_mamba_ros.registration.report import blend_sheet, registration_yaml, residual_table

        if threads:
            cv2.setNumThreads(threads)
        try:
            if not math.isfinite(thermal_offset):
                raise ValueError(f"--thermal-offset {thermal_offset} is not a number of seconds")
            scaling = ThermalScaling(polarity=polarity)
            source = bag or rgb
            if (bag is None) == (rgb is None or thermal is None) or source is None:
                raise ValueError("give --rgb and --thermal, or --bag")
            found = (
                _from_bag(bag, rgb_topic, thermal_topic, pairs, thermal_offset)
                if bag is not None
                else _from_files(rgb, thermal, pairs)
            )
            images = [
                (pair.rgb, scale_thermal(pair.thermal, scaling))
                for pair in found
                if pair.rgb is not None and pair.thermal is not None
            ]
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task(f"registering {len(images)} pairs", total=1.0)
                estimate = estimate_registration(
                    [(_grey(image), thermal_image) for image, thermal_image in images],
                    on_progress=lambda fraction: progress.update(task, completed=fraction),
                )
            sizes = size_of(images[0][0]), size_of(images[0][1])
            write_atomically(out, registration_yaml(estimate, source.name, sizes).encode())
            blend = out.with_name(f"{out.stem}_blend.png")
            step = -(-len(images) // _BLENDS)
            write_image(blend, blend_sheet(images[::step], estimate.homography))
        except (ValueError, OSError) as error:
            fail(error)
        typer.echo(f"residual by region, RGB pixels ({sizes[0][0]}x{sizes[0][1]}; '-': nothing to measure):")
        typer.echo(residual_table(estimate))
        worst = max(region.distance_px for region in estimate.regions)
        typer.echo(
            f"median {estimate.residual_px:.2f} px, worst {worst:.2f} px, significance {estimate.significance:.1f}"
        )
        if estimate.halves_differ_px is not None:
            typer.echo(f"two halves of the pairs agree to {estimate.halves_differ_px:.2f} px")
        typer.echo(f"written: {out}, {blend}")


def _from_bag(bag: Path, rgb_topic: str, thermal_topic: str, count: int, thermal_offset_sec: float) -> list[ImagePair]:
    from fusion_mamba_ros.bags.bag_pairs import sample_bag_pairs

    return sample_bag_pairs(bag, rgb_topic, thermal_topic, count=count, thermal_offset_sec=thermal_offset_sec)


def _from_files(rgb: Path | None, thermal: Path | None, count: int) -> list[ImagePair]:
    from itertools import islice

    from fusion_mamba_ros.datasets.pair_source import open_pairs

    source = open_pairs(rgb, thermal)
    step = max(1, -(-source.count // count))
    found = list(islice(source, 0, step * count, step))
    for note in source.notes:
        typer.echo(f"note: {note}", err=True)
    return found


def _grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    import cv2

    grey: npt.NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return grey
