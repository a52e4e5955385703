"""A coordinate network: multi-resolution hash encoding and a small MLP (Mueller et al. 2022, Instant-NGP).

Plain torch, on CPU and GPU alike: a gather of the eight corners at any points, matrix products on a lattice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

PRIMES = (1, 2654435761, 805459861)  # of the spatial hash, Mueller et al. 2022, eq. 4
START = 1e-4  # features start in +-START
CORNERS = tuple(np.ndindex(2, 2, 2))


class HashGrid(nn.Module):
    """Features of a point, interpolated linearly between the corners of a grid at each of several cell sizes.

    A level whose corners fit into a table of 2^``log2_table`` entries is stored densely; a finer one is hashed, and
    colliding corners share an entry.

    Args:
        extent: size of the domain along the three axes, in the unit of the points.
        coarsest, finest: edge of the cubic cells of the first and last level, same unit.
        levels: number of levels, cell sizes in geometric progression.
        features: features an entry.
        log2_table: largest number of entries of a level, as a power of 2.
        generator: of the initial features, uniform in +-1e-4.
    """

    def __init__(
        self,
        extent: Sequence[float],
        coarsest: float,
        finest: float,
        levels: int = 8,
        features: int = 2,
        log2_table: int = 19,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.levels, self.features = levels, features
        cells = np.geomspace(coarsest, finest, levels)
        corners = np.floor(np.asarray(extent, dtype=np.float64) / cells[:, None]).astype(np.int64) + 2
        self.cells, self.corners = cells.tolist(), corners.tolist()
        self.hashed = [bool(n > 2**log2_table) for n in corners.prod(axis=1)]
        self.tables = nn.ParameterList(
            torch.empty(min(int(n), 2**log2_table), features).uniform_(-START, START, generator=generator)
            for n in corners.prod(axis=1)
        )

    @property
    def width(self) -> int:
        """Length of the encoding."""
        return self.levels * self.features

    def forward(self, points: Tensor) -> Tensor:
        """(N, 3) points in 0..extent -> (N, levels * features)."""
        return torch.cat([self._level(points, level) for level in range(self.levels)], dim=1)

    def lattice(self, start: Sequence[int], shape: Sequence[int]) -> Tensor:
        """The encoding of the points start + (0..shape - 1): (I, J, K, levels * features).

        The same as :meth:`forward` at those points. On a lattice the interpolation of a dense level factorises over
        the axes, so that three small matrix products take the place of a gather.
        """
        parts = []
        for level in range(self.levels):
            if self.hashed[level]:
                axes = [torch.arange(a, a + n, device=self.tables[0].device) for a, n in zip(start, shape, strict=True)]
                points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3).float()
                parts.append(self._level(points, level).reshape(*shape, self.features))
            else:
                parts.append(self._dense_level(start, shape, level))
        return torch.cat(parts, dim=-1)

    def _dense_level(self, start: Sequence[int], shape: Sequence[int], level: int) -> Tensor:
        table = self.tables[level]
        values = table.reshape(*self.corners[level], self.features)
        matrices = []
        for axis, (first, count) in enumerate(zip(start, shape, strict=True)):
            position = torch.arange(first, first + count, device=table.device) / self.cells[level]
            low = position.floor().long().clamp(0, self.corners[level][axis] - 2)
            begin, end = int(low[0]), int(low[-1]) + 2
            matrix = torch.zeros(count, end - begin, device=table.device)
            rows, fraction = torch.arange(count, device=table.device), position - low
            matrix[rows, low - begin] = 1 - fraction
            matrix[rows, low - begin + 1] = fraction
            matrices.append(matrix)
            values = values.narrow(axis, begin, end - begin)
        values = torch.einsum("kc,abcf->abkf", matrices[2], values)
        values = torch.einsum("jb,abkf->ajkf", matrices[1], values)
        return torch.einsum("ia,ajkf->ijkf", matrices[0], values)

    def _level(self, points: Tensor, level: int) -> Tensor:
        """(N, 3) -> (N, features)."""
        index, weight = self._corners(points, level)
        found = self.tables[level].index_select(0, index.reshape(-1)).reshape(*index.shape, self.features)
        return torch.einsum("ncf,nc->nf", found, weight)

    def _corners(self, points: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Entries of the table (N, 8) and their weights (N, 8)."""
        position = points / self.cells[level]
        low = position.floor()
        fraction = position - low
        low = low.long()
        along_index, along_weight = [], []
        sizes, entries = self.corners[level], len(self.tables[level])
        strides = PRIMES if self.hashed[level] else (sizes[1] * sizes[2], sizes[2], 1)
        for axis in range(3):
            first = low[:, axis].clamp(0, sizes[axis] - 1) * strides[axis]
            second = (low[:, axis] + 1).clamp(0, sizes[axis] - 1) * strides[axis]
            along_index.append((first, second))
            along_weight.append((1 - fraction[:, axis], fraction[:, axis]))
        index, weight = [], []
        for a, b, c in CORNERS:
            parts = along_index[0][a], along_index[1][b], along_index[2][c]
            joined = parts[0] ^ parts[1] ^ parts[2] if self.hashed[level] else parts[0] + parts[1] + parts[2]
            index.append(joined % entries if self.hashed[level] else joined)
            weight.append(along_weight[0][a] * along_weight[1][b] * along_weight[2][c])
        return torch.stack(index, dim=1), torch.stack(weight, dim=1)


class CoordinateNetwork(nn.Module):
    """Intensity at a point: hash encoding, then an MLP with two hidden layers of 64 ReLU units.

    Args:
        extent, coarsest, finest, levels, features, log2_table: see :class:`HashGrid`.
        hidden: units of a hidden layer.
        generator: of all initial weights.
    """

    def __init__(
        self,
        extent: Sequence[float],
        coarsest: float,
        finest: float,
        levels: int = 8,
        features: int = 2,
        log2_table: int = 19,
        hidden: int = 64,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.grid = HashGrid(extent, coarsest, finest, levels, features, log2_table, generator)
        layers: list[nn.Module] = []
        for inputs, outputs in ((self.grid.width, hidden), (hidden, hidden), (hidden, 1)):
            linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
            nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, points: Tensor) -> Tensor:
        """(N, 3) points in 0..extent -> (N,)."""
        return self.mlp(self.grid(points))[:, 0]

    def lattice(self, start: Sequence[int], inside: Tensor) -> Tensor:
        """The voxels start + (those that are true in ``inside``, bool (I, J, K)) -> (N,), in the order of nonzero()."""
        return self.mlp(self.grid.lattice(start, inside.shape)[inside])[:, 0]
