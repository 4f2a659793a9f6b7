# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba info`: show the engines, devices and scan backends of this installation, with reasons."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("info")
    def info(
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
    ) -> None:
        """Show versions, engines, devices, the backends of the selective scan, and whether ROS is installed.

        Example: fusion-mamba info
        """
        found = describe_installation()
        if as_json:
            typer.echo(json.dumps(found, indent=2))
        else:
            _print_tables(found)


def describe_installation() -> dict[str, Any]:
    """Return versions, engines, devices, scan backends and ROS packages as plain values, ready for JSON.

    Without PyTorch, its version and thread count are None, and there are no CUDA devices and scan backends.
    """
    from fusion_mamba_ros import __version__

    return {
        "fusion_mamba_ros": __version__,
        "python": platform.python_version(),
        "cpu": f"{platform.machine()}, {os.cpu_count()} cores",
        **_describe_torch(),
        "engines": _describe_engines(),
        "ros": _describe_ros(),
    }


def _describe_torch() -> dict[str, Any]:
    try:
        import torch
    except ModuleNotFoundError:
        return {"torch": None, "threads": None, "cuda_devices": [], "selective_scan": []}
    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cuda_devices": cuda,
        "selective_scan": _describe_backends(["cpu", *(["cuda"] if cuda else [])]),
    }


def _describe_engines() -> list[dict[str, Any]]:
    from fusion_mamba_ros.perception.engine_loading import known_engines, why_unavailable

    rows = []
    for kind in known_engines():
        reason = why_unavailable(kind)
        note = "" if reason is None else f"{reason}: {kind.remedy}"
        rows.append({"engine": kind.name, "files": list(kind.suffixes), "available": reason is None, "note": note})
    return rows


def _describe_backends(device_types: list[str]) -> list[dict[str, Any]]:
    import warnings

    from fusion_mamba_ros.network.selective_scan import active_backend, all_backends, cpu
    from fusion_mamba_ros.network.selective_scan.backends import unavailable_reason

    with warnings.catch_warnings():
        # Ignore the warning about a slow backend, because the table shows it.
        warnings.simplefilter("ignore", RuntimeWarning)
        active = {device_type: active_backend(device_type) for device_type in device_types}
    rows = []
    for backend in all_backends():
        reason = unavailable_reason(backend)
        used_on = [device_type for device_type, chosen in active.items() if chosen is backend]
        note = reason or (f"instruction set {cpu.instruction_set()}" if backend.name == "cpu" else "")
        rows.append(
            {
                "backend": backend.name,
                "device": backend.device_type or "any",
                "available": reason is None,
                "active_on": used_on,
                "note": note or ("slow" if backend.slow else ""),
            }
        )
    return rows


def _describe_ros() -> dict[str, Any]:
    packages = ("rclpy", "sensor_msgs", "vision_msgs", "cv_bridge", "message_filters")
    return {
        "distribution": os.environ.get("ROS_DISTRO"),
        "packages": {name: importlib.util.find_spec(name) is not None for name in packages},
    }


def _print_tables(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    versions = Table.grid(padding=(0, 2))
    for name in ("fusion_mamba_ros", "python", "cpu"):
        versions.add_row(name, str(found[name]))
    versions.add_row("torch", found["torch"] or "not installed")
    if found["threads"] is not None:
        versions.add_row("threads", str(found["threads"]))
    versions.add_row("cuda", ", ".join(found["cuda_devices"]) or "no device")
    ros = found["ros"]
    missing = [name for name, present in ros["packages"].items() if not present]
    if not ros["packages"]["rclpy"]:
        state = "not found: everything but the node works (docs/how-to/install.md)"
    else:
        state = (ros["distribution"] or "found") + (f", without {', '.join(missing)}" if missing else "")
    versions.add_row("ros", state)
    console.print(versions)

    engines = Table("engine", "runs", "state", "note", title="engines", title_justify="left")
    for row in found["engines"]:
        state = "available" if row["available"] else "[yellow]unavailable[/yellow]"
        engines.add_row(row["engine"], ", ".join(row["files"]), state, escape(row["note"]))
    console.print(engines)
    if not found["selective_scan"]:
        return
    table = Table("backend", "device", "state", "note", title="selective scan", title_justify="left")
    for row in found["selective_scan"]:
        if row["active_on"]:
            state = f"[green]active on {', '.join(row['active_on'])}[/green]"
        else:
            state = "available" if row["available"] else "[yellow]unavailable[/yellow]"
        table.add_row(row["backend"], row["device"], state, escape(row["note"]))
    console.print(table)
