"""The constants that a run's cost is estimated from; apart, because the panel shows it before torch is installed.

Those for the CPU are from benchmarks/speed.py (two cores); those for graphics cards are guesses.
"""

from __future__ import annotations

SECONDS_PER_GIGAVOXEL = {"cpu": 550.0, "cuda": 20.0, "mps": 150.0}  # of one evaluation of a network of the shipped size
BYTES_PER_VOXEL = 200
