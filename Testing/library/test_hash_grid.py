"""The coordinate network: the encoding's definition, and what it can learn."""

from __future__ import annotations

import pytest
import torch

from LowFieldEnhanceLib.networks.hash_grid import CoordinateNetwork, HashGrid


def grid(log2_table: int = 19, **options) -> HashGrid:
    """Cells of 6, 3 and 1.5 on a domain of 11 x 14 x 9, features of order one."""
    made = HashGrid((11, 14, 9), 6.0, 1.5, levels=3, features=2, log2_table=log2_table, **options)
    generator = torch.Generator().manual_seed(0)
    for table in made.tables:
        table.data = torch.randn(table.shape, generator=generator)
    return made


@torch.no_grad()
def test_at_a_corner_the_encoding_is_the_corners_entry() -> None:
    made = grid()
    corner = torch.tensor([[6.0, 12.0, 6.0]])  # corner (1, 2, 1) of the first level
    sizes = made.corners[0]
    entry = (1 * sizes[1] + 2) * sizes[2] + 1
    torch.testing.assert_close(made(corner)[0, :2], made.tables[0][entry])


@torch.no_grad()
def test_between_corners_the_encoding_is_linear_along_every_axis() -> None:
    made = grid()
    for axis in range(3):
        step = torch.zeros(3)
        step[axis] = 0.7
        first = torch.tensor([1.6, 1.6, 1.6])  # 0.7 on, the same cell of 1.5 .. 3
        points = torch.stack([first, first + step / 2, first + step])
        low, middle, high = made(points)
        torch.testing.assert_close(middle, (low + high) / 2)


@torch.no_grad()
@pytest.mark.parametrize("log2_table", [19, 5])
def test_on_a_lattice_the_encoding_is_the_same_as_point_by_point(log2_table: int) -> None:
    made = grid(log2_table)
    assert any(made.hashed) == (log2_table == 5)
    start, shape = (2, 5, 0), (6, 4, 9)
    points = torch.cartesian_prod(*(torch.arange(a, a + n) for a, n in zip(start, shape, strict=True)))
    torch.testing.assert_close(made.lattice(start, shape).reshape(-1, 6), made(points.float()))


def test_a_level_that_does_not_fit_its_table_is_hashed_into_it() -> None:
    made = grid(log2_table=5)
    assert all(len(table) <= 2**5 for table in made.tables)
    points = 9 * torch.rand(500, 3, generator=torch.Generator().manual_seed(1))
    made(points).sum().backward()
    finest = made.tables[2].grad
    assert finest is not None and (finest != 0).any(dim=1).float().mean() > 0.9  # the entries are shared out


def test_the_generator_decides_the_first_weights() -> None:
    first, again, other = (
        CoordinateNetwork((8, 8, 8), 4, 1, levels=2, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.shape == c.shape
    assert not torch.equal(first.grid.tables[0], other.grid.tables[0])


def test_a_masked_lattice_gives_its_voxels_in_their_order() -> None:
    network = CoordinateNetwork((8, 9, 7), 4, 1, levels=3, generator=torch.Generator().manual_seed(0))
    inside = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(1)) > 0.5
    points = torch.nonzero(inside) + torch.tensor([3, 2, 1])
    torch.testing.assert_close(network.lattice((3, 2, 1), inside), network(points.float()))


def test_it_learns_a_smooth_volume() -> None:
    i, j, k = torch.meshgrid(*[torch.linspace(-1, 1, 12)] * 3, indexing="ij")
    volume = 0.5 + 0.3 * torch.sin(2 * i) * torch.cos(3 * j) + 0.1 * k
    everything = torch.ones(12, 12, 12, dtype=torch.bool)
    network = CoordinateNetwork((12, 12, 12), 6, 2, levels=3, hidden=16, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)

    def error() -> torch.Tensor:
        return (network.lattice((0, 0, 0), everything) - volume.reshape(-1)).square().mean()

    for _ in range(80):
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    assert float(error().detach()) ** 0.5 < 0.1 * float(volume.std())
