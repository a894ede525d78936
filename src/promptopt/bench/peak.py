"""What the device's matrix multiplication really reaches: the ceiling that shares of it are shares of."""

from __future__ import annotations

import time

import torch

CPU_SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 2048, 2048), (2048, 4096, 1024))
CUDA_SHAPES = ((4096, 4096, 4096), (8192, 8192, 8192), (16384, 8192, 8192), (8192, 4096, 16384))


def matmul_peak(device: torch.device, dtype: torch.dtype, seconds: float = 0.4) -> float:
    """Operations per second of the fastest of several matrix products.

    Args:
        device: Where to multiply.
        dtype: Number format of the factors.
        seconds: Time for each shape; the fastest single product (on CUDA: run of products) counts.
    """
    shapes = CUDA_SHAPES if device.type == "cuda" else CPU_SHAPES
    return max(_rate(shape, device, dtype, seconds) for shape in shapes)


def _rate(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    rows, inner, columns = shape
    a = torch.randn(rows, inner, device=device).to(dtype)
    # Stored as a linear layer stores its weight, which is the layout that the model multiplies with.
    b = torch.randn(columns, inner, device=device).to(dtype).T
    repeats = 10 if device.type == "cuda" else 1
    best, until = 0.0, time.perf_counter() + seconds
    _multiply(a, b, repeats)
    while time.perf_counter() < until or not best:
        best = max(best, repeats * 2.0 * rows * inner * columns / _multiply(a, b, repeats))
    return best


def _multiply(a: torch.Tensor, b: torch.Tensor, repeats: int) -> float:
    """Seconds that the products take."""
    began = time.perf_counter()
    for _ in range(repeats):
        torch.mm(a, b)
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)
    return time.perf_counter() - began
