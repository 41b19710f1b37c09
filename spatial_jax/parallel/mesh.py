"""Device meshes with the axes that the rules name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh

from spatial_jax.parallel.rules import MESH_AXES


def make_mesh(axes: Mapping[str, int] | None = None, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over `devices` (all by default) with axes data, fsdp and tensor (and others, if named).

    One size may be -1: what remains. Left-out axes are 1; with no sizes at all every device goes to fsdp. Of several
    TPU slices the data axis goes over the slices first. ValueError when the sizes do not multiply to the number of
    devices, or data is no multiple of the slices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = dict.fromkeys(MESH_AXES, 1) | dict(axes or {"fsdp": -1})
    unknown = [name for name, size in sizes.items() if size == -1]
    known = math.prod(size for size in sizes.values() if size != -1)
    if len(unknown) > 1:
        raise ValueError(f"make_mesh: only one axis may be -1, got {sizes}")
    if unknown:
        sizes[unknown[0]] = len(devices) // known
    if math.prod(sizes.values()) != len(devices):
        raise ValueError(
            f"make_mesh: {sizes} multiplies to {math.prod(sizes.values())} but there are {len(devices)} devices"
        )
    shape = tuple(sizes.values())
    on_tpu, slices = devices[0].platform == "tpu", slice_count(devices)
    if slices > 1 and sizes["data"] % slices:
        raise ValueError(
            f"make_mesh: {slices} slices need a data axis that is a multiple of {slices}, got data={sizes['data']}:"
            " only it may cross the network between slices"
        )
    if slices > 1:
        within = tuple(size // slices if name == "data" else size for name, size in sizes.items())
        across = tuple(slices if name == "data" else 1 for name in sizes)
        grid = mesh_utils.create_hybrid_device_mesh(within, across, devices, allow_split_physical_axes=True)
    elif on_tpu:
        grid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    else:
        grid = np.asarray(devices).reshape(shape)
    return Mesh(grid, tuple(sizes))


def slice_count(devices: Sequence[jax.Device]) -> int:
    """TPU slices that the devices are of; 1 elsewhere."""
    return len({getattr(device, "slice_index", 0) for device in devices}) if devices[0].platform == "tpu" else 1


def sampler_mesh(mesh: Mesh, tensor: int, sharded: bool = False) -> Mesh:
    """The devices of `mesh` in their order, each `tensor` neighbours around one whole copy of the weights: axes data,
    fsdp (1) and tensor.

    sharded: the same groups, but what training cut over fsdp stays cut over the groups that it spans: between the two
    layouts. ValueError when the devices of a slice do not divide into such groups.
    """
    devices = mesh.devices.reshape(-1)
    if (mesh.size // slice_count(list(devices))) % tensor:
        raise ValueError(
            f"config.rollout.tensor = {tensor} does not divide the mesh's {mesh.size} devices (of one slice); use a"
            " divisor, or 0 to sample with the trainer's layout"
        )
    groups = mesh.size // mesh.shape["data"] // tensor if sharded else 1
    return Mesh(devices.reshape(-1, max(groups, 1), tensor), MESH_AXES)
