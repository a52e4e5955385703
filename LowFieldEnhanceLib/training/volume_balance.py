"""A training loss against volumes that are wrong in the same direction in every head."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..segmentation.labels import label_table

DECAY = 0.97  # of the running sums: about the last 30 samples of a kind
LEAST_SAMPLES = 20  # of a kind, before its biases count
FULL = 0.01  # relative bias from which on a structure is pushed at full strength


def structure_of_channels() -> Tensor:
    """(C,) index of a structure for each of the segmenter's channels, left and right together; -1: background."""
    first: dict[int, int] = {}
    found = [first.setdefault(min(label.id, label.partner), len(first)) for label in label_table()]
    return torch.tensor([-1, *found])


class VolumeBalance:
    """The bias of the structures' volumes over many patches, as a linear term on the patches at hand.

    On one patch a volume is off by some per cent either way, and the mean of |V_estimate - V_truth| hardly changes
    with a bias of one per cent. The bias itself, b = sum(V_estimate - V_truth) / sum(V_truth) over the last patches,
    shows it; the step against it is the multiplier of a constraint E[V_estimate - V_truth] = 0::

        mean over patches, sum over structures of  clamp(b / FULL, -1, 1) (V_estimate - V_truth) / sqrt(V V_all)

    with V and V_all the mean volumes a patch of the structure and of all of them. The root stands between the same
    push on every voxel, under which a nucleus gains nothing, and the same push on every structure, under which the
    voxels of white matter feel nothing. The multipliers come from earlier patches and carry no gradient. Each kind of
    sample has its own, because thick slices blow up what thin ones leave alone, and every contrast has its borders.

    The volumes of b are those of the labels, each voxel counted for the structure it most likely is, because the report
    measures those; the push goes through the probabilities. Sums of these had a bias of - .2 % in cortex and + .6 % in
    white matter where the labels of the same patches had - .5 and + .8 %, and those of whole heads - 1.2 and + 1.0 %.

    Args:
        structures: of each channel of the posteriors, -1 for none; default :func:`structure_of_channels`.
        kinds: of samples.
    """

    def __init__(self, structures: Tensor | None = None, kinds: int = 1) -> None:
        self.structures = structure_of_channels() if structures is None else structures
        shape = kinds, int(self.structures.max()) + 1
        self.excess, self.volume, self.samples = torch.zeros(shape), torch.zeros(shape), torch.zeros(kinds)

    def state_dict(self) -> dict[str, Tensor]:
        """The sums, which are as much a part of a run as the optimiser's."""
        return {"excess": self.excess, "volume": self.volume, "samples": self.samples}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from :meth:`state_dict`."""
        self.excess, self.volume, self.samples = (state[name].cpu() for name in ("excess", "volume", "samples"))

    @property
    def bias(self) -> Tensor:
        """(K, S): (V_estimate - V_truth) / V_truth over the last patches; 0 of a structure that none showed."""
        return self.excess / self.volume.clamp_min(1e-6)

    def __call__(self, found: Tensor, target: Tensor, kinds: Tensor) -> Tensor:
        """Posteriors (B, C, I, J, K) on estimate and truth -> the term; then the patches are counted in the biases.

        Args:
            found, target: probabilities.
            kinds: (B,) of the samples.
        """
        change = self._volumes(found) - self._volumes(target)
        with torch.no_grad():
            wanted = self._counted(target)
            excess = self._counted(found) - wanted
        mean = self.volume * (1 - DECAY) / (1 - DECAY ** self.samples.clamp_min(1))[:, None]
        push = (self.bias / FULL).clamp(-1, 1) / (mean * mean.sum(1, keepdim=True)).sqrt().clamp_min(1)
        push = torch.where(self.samples[:, None] >= LEAST_SAMPLES, push, torch.zeros(()))
        term = (push[kinds].to(change) * change).sum() / len(kinds)
        finite = torch.isfinite(change.detach()).all(1).cpu()
        for kind, more, volume, valid in zip(kinds.tolist(), excess.cpu(), wanted.cpu(), finite, strict=True):
            if not valid:  # a step that fails is left out
                continue
            self.excess[kind] = DECAY * self.excess[kind] + more
            self.volume[kind] = DECAY * self.volume[kind] + volume
            self.samples[kind] += 1
        return term

    def _counted(self, posterior: Tensor) -> Tensor:
        """(B, S) voxels that each structure is most likely in."""
        best = posterior.argmax(1).flatten(1)
        counts = torch.stack([torch.bincount(row, minlength=posterior.shape[1]) for row in best])
        return self._volumes(counts[:, :, None, None, None].to(posterior))

    def _volumes(self, posterior: Tensor) -> Tensor:
        """(B, S) voxels of each structure."""
        sums = posterior.sum((2, 3, 4))
        shown = self.structures >= 0
        empty = sums.new_zeros(len(sums), self.excess.shape[1])
        return empty.index_add(1, self.structures[shown].to(sums.device), sums[:, shown.to(sums.device)])
