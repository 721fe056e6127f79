"""Weights and inputs that two programs compute alike, so that only outputs need storing.

Value i of the tensor NAME comes from SplitMix64 at counter i of a stream that starts at the FNV-1a hash
of NAME: its upper 24 bits, as a number in [-1, 1), times a power of two. Every step is exact in f32.
`crates/clip/tests/common/formula.rs` is the same in Rust.
"""

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def start(name: str) -> int:
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def bits(name: str, count: int, first: int = 0) -> np.ndarray:
    """`count` numbers of 24 bits, from counter `first`."""
    counter = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        x = counter * np.uint64(GOLDEN) + np.uint64(start(name))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.int64)


def unit(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """f32 in [-1, 1)."""
    count = int(np.prod(shape, dtype=np.int64))
    out = np.empty(count, dtype=np.float32)
    for at in range(0, count, 1 << 20):
        size = min(1 << 20, count - at)
        out[at : at + size] = (bits(name, size, at) - (1 << 23)).astype(np.float32) * np.float32(2.0**-23)
    return out.reshape(shape)


def exponent(name: str, shape: tuple[int, ...]) -> int:
    """The power of two by which a weight is scaled, about 1 / sqrt(fan in)."""
    if name.endswith("bias"):
        return -4
    if len(shape) == 1:
        return -3
    if "embedding.weight" in name and len(shape) == 2:
        return -5
    fan_in = int(np.prod(shape[1:], dtype=np.int64))
    return -((fan_in.bit_length() - 1) // 2)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter under its Hugging Face name. Scales of layer norms are about 1."""
    if name == "logit_scale":
        return np.full(shape, 2.5, dtype=np.float32)
    values = unit(name, shape) * np.float32(2.0 ** exponent(name, shape))
    is_norm = name.endswith("weight") and len(shape) == 1
    return values + np.float32(1.0) if is_norm else values


def fill(model) -> None:
    """Gives every parameter of a torch module its values."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weight(name, tuple(parameter.shape))))
