"""The constants that a run's cost is estimated from; apart, because the panel shows it before torch is installed.

Those for the CPU are from benchmarks/speed.py (two cores); those for graphics cards are guesses.
"""

from __future__ import annotations

SECONDS_PER_GIGAVOXEL = {"cpu": 550.0, "cuda": 20.0, "mps": 150.0}  # of one evaluation of a network of the shipped size
BYTES_PER_VOXEL = 200

# What the methods on the slice prior do, in evaluations of a network of the shipped size: one evaluation of the prior
# along one orientation, one epoch of the coordinate network, one data step by conjugate gradients. Extrapolated from
# thin slabs.
RELATIVE_COST = {"prior": 1.55, "inr": 1.45, "cg": 0.75}

# The same for the distilled latent super-resolution: encoders and decoder along one orientation, one step of the latent
# network along one orientation, and N4. Ratios of processor time on 128 x 144 x 64 voxels, one core.
RELATIVE_COST |= {"autoencoder": 0.8, "student": 0.45, "teacher": 0.8, "n4": 0.2}

# The same for CSS-Diff: one evaluation of the generator along one orientation.
RELATIVE_COST |= {"generator": 1.6}

# The same for the expected deviation of a single result.
RELATIVE_COST |= {"expected_deviation": 0.3}
