"""How much memory the servers may use: that of the machine, or what a container allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.embedded.programs import BUFFERS_MOST_BYTES, LEAST_BYTES, buffer_bytes, memory_bytes, stream_bytes

GIB = 2**30


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("groups", "limits"),
    [
        ("0::/app\n", {"app/memory.max": GIB}),
        ("0::/app/inner\n", {"app/inner/memory.max": "max", "app/memory.max": GIB}),
        ("0::/docker/seen-from-outside\n", {"memory.max": GIB}),
        ("5:cpu,memory:/app\n1:cpu:/\n0::/\n", {"memory/app/memory.limit_in_bytes": GIB}),
        ("4:memory:/seen-from-outside\n", {"memory/memory.limit_in_bytes": GIB}),
    ],
)
def test_a_container_has_what_its_group_allows(tmp_path: Path, groups: str, limits: dict[str, object]) -> None:
    """The limit of a control group, or of one above it, counts in both versions of control groups."""
    put(tmp_path, "proc/self/cgroup", groups)
    for name, limit in limits.items():
        put(tmp_path, f"sys/fs/cgroup/{name}", f"{limit}\n")
    assert memory_bytes(tmp_path) == GIB
    assert stream_bytes(tmp_path) == GIB // 4


def test_without_a_limit_the_machine_counts(tmp_path: Path) -> None:
    """If no group has a lower limit, or none can be read, the machine's memory counts."""
    machine = memory_bytes(tmp_path)
    put(tmp_path, "proc/self/cgroup", "4:memory:/app\n0::/app\n")
    put(tmp_path, "sys/fs/cgroup/app/memory.max", "max\n")
    put(tmp_path, "sys/fs/cgroup/memory/app/memory.limit_in_bytes", f"{2**63 - 4096}\n")
    assert memory_bytes(tmp_path) == machine > LEAST_BYTES


def test_a_small_container_still_gets_a_stream(tmp_path: Path) -> None:
    """Below a gigabyte the share is the minimum."""
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/memory.max", f"{GIB // 2}\n")
    assert stream_bytes(tmp_path) == LEAST_BYTES


@pytest.mark.parametrize(
    ("memory", "buffers"), [(GIB // 2, LEAST_BYTES), (4 * GIB, GIB // 2), (64 * GIB, BUFFERS_MOST_BYTES)]
)
def test_buffers_are_an_eighth_within_bounds(tmp_path: Path, memory: int, buffers: int) -> None:
    """Postgres gets an eighth of the memory, but neither less than it needs nor more than is useful."""
    machine = memory_bytes(tmp_path)
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/memory.max", f"{memory}\n")
    assert buffer_bytes(tmp_path) == min(buffers, max(LEAST_BYTES, machine // 8))
