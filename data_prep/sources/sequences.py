"""Small text files that come with RGB-D sequences: TUM's lists of time stamps and KITTI's calibration."""

from __future__ import annotations

import re

Intrinsics = tuple[float, float, float, float]


def read_stamps(text: str) -> list[tuple[float, str]]:
    """(seconds, file) of each line of TUM's rgb.txt or depth.txt, in time order; comment lines start with #."""
    out = []
    for line in text.split("\n"):
        parts = line.split()
        if len(parts) >= 2 and not line.lstrip().startswith("#"):
            try:
                out.append((float(parts[0]), parts[1]))
            except ValueError:
                continue
    return sorted(out)


def associate(
    colour: list[tuple[float, str]], depth: list[tuple[float, str]], most_apart: float = 0.02
) -> dict[str, str]:
    """Depth file of each colour file: closest in time and less than `most_apart` seconds away, closest pairs first,
    none used twice (as TUM's associate.py does it).
    """
    pairs, first = [], 0
    for time, name in colour:
        while first < len(depth) and depth[first][0] < time - most_apart:
            first += 1
        for other, depth_name in depth[first:]:
            if other > time + most_apart:
                break
            pairs.append((abs(other - time), name, depth_name))
    out: dict[str, str] = {}
    used: set[str] = set()
    for _, name, depth_name in sorted(pairs):
        if name not in out and depth_name not in used:
            out[name] = depth_name
            used.add(depth_name)
    return out


def kitti_intrinsics(text: str, camera: str = "02") -> Intrinsics | None:
    """fx, fy, cx, cy of a rectified camera from calib_cam_to_cam.txt (line P_rect_02: a 3 x 4 matrix), or from the nine
    numbers of a depth-completion intrinsics file; None when the text holds neither.
    """
    match = re.search(rf"^P_rect_{camera}:\s*(.+)$", text, re.MULTILINE)
    row = 4 if match else 3
    try:
        numbers = [float(v) for v in (match.group(1) if match else text).split()]
    except ValueError:
        return None
    if len(numbers) != 3 * row:
        return None
    return numbers[0], numbers[row + 1], numbers[2], numbers[row + 2]
