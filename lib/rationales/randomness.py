"""Random generators that depend on what they are for and on nothing else."""

import hashlib

import numpy as np


def generator_for(*key: object) -> np.random.Generator:
    """A random generator that depends on every part of `key` and on nothing else (not on the process)."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
