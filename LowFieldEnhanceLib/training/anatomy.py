"""A training loss that looks at anatomy: a frozen segmenter must see the same tissues in estimate and truth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..segmentation.labels import label_table
from ..weights import load_network
from .volume_balance import VolumeBalance

# The segmenter divides by the 99th percentile, the enhancement networks by 1.25 times the 90th (preprocess.intensity);
# in T1w, T2w and FLAIR brains the first is about this share of the second.
SCALE_RATIO = 0.9
TOP = 1.5  # brightest value the segmenter is shown
TISSUES = ("background", "WM", "GM", "CSF")
BALANCE_WEIGHT = 0.3
LEAST = 1e-5  # of a probability, in the logarithm


def tissue_of_channels() -> Tensor:
    """(C,) index into :data:`TISSUES` of each of the segmenter's channels."""
    return torch.tensor([0, *(TISSUES.index(label.tissue) for label in label_table())])


class AnatomyLoss:
    """Divergence of the segmenter's tissue posteriors on the estimate from those on the high-field image.

    KL(truth || estimate) over background, white matter, grey matter and fluid: the borders between tissues, which an
    L1 mean moves by its smoothing. Structures are not told apart, because a patch does not show where in the head it
    lies. The high-field posteriors are the target, so that no labels are needed and every contrast takes part.

    The divergence weighs every voxel alone and leaves a bias that all of them share: a second term compares how much
    of each tissue the patch holds, |V_estimate - V_truth| summed over white matter, grey matter and fluid, as a share
    of the three volumes in the truth. A third takes the bias of the structures' volumes over many patches off
    (:mod:`.volume_balance`).

    Args:
        segmenter: network from image to scores, edges of the volumes a multiple of its ``multiple``; it is frozen.
        device: torch device.
        groups: tissue of each channel, default :func:`tissue_of_channels`.
        volume_weight: of the volumes' term.
        balance: of the structures' volumes; None leaves the third term out.
        balance_weight: of that term.
    """

    def __init__(
        self,
        segmenter: nn.Module,
        device: str = "cpu",
        groups: Tensor | None = None,
        volume_weight: float = 1.0,
        balance: VolumeBalance | None = None,
        balance_weight: float = BALANCE_WEIGHT,
    ) -> None:
        self.segmenter, self.device = segmenter.requires_grad_(False), device
        self.volume_weight, self.balance, self.balance_weight = volume_weight, balance, balance_weight
        self.groups = (tissue_of_channels() if groups is None else groups).to(device)

    @classmethod
    def registered(cls, device: str = "cpu", kinds: int = 1, balance_weight: float = BALANCE_WEIGHT) -> AnatomyLoss:
        """With the segmenter of the model registry and a balance of so many kinds of samples.

        Raises:
            MissingModel, CorruptModel: see weights.load_network.
        """
        segmenter, balance = load_network("segmenter", device)[0], VolumeBalance(kinds=kinds)
        return cls(segmenter, device, balance=balance, balance_weight=balance_weight)

    def __call__(self, estimate: Tensor, truth: Tensor, kinds: Tensor | None = None) -> Tensor:
        """(B, 1, I, J, K) each in the model range -> the mean over voxels that are not background in the truth.

        ``kinds`` (B,) are those of the samples for the balance, default one kind.
        """
        with torch.no_grad():
            wanted = self._posterior(truth)
        found = self._posterior(estimate)
        loss = self._of_tissues(self._tissues(found), self._tissues(wanted))
        if self.balance is None:
            return loss
        kinds = torch.zeros(len(truth), dtype=torch.long) if kinds is None else kinds
        return loss + self.balance_weight * self.balance(found, wanted, kinds)

    def _of_tissues(self, found: Tensor, target: Tensor) -> Tensor:
        """Divergence and volumes, from probabilities (B, 4, I, J, K)."""
        divergence = (target * (target.log() - found.log())).sum(1)
        weight = 1 - target[:, 0]
        volumes, wanted = (p[:, 1:].flatten(2).sum(2) for p in (found, target))
        change = ((volumes - wanted).abs().sum(1) / wanted.sum(1).clamp_min(1)).mean()
        return (divergence * weight).sum() / weight.sum().clamp_min(1) + self.volume_weight * change

    def _posterior(self, image: Tensor) -> Tensor:
        """(B, C, I, J, K) probabilities."""
        shown = ((image + 1) / (2 * SCALE_RATIO)).clamp(0, TOP) * 2 - 1
        with torch.autocast(torch.device(self.device).type, torch.bfloat16):
            scores = self.segmenter(shown)
        return torch.softmax(scores.float(), dim=1)

    def _tissues(self, posterior: Tensor) -> Tensor:
        """(B, 4, I, J, K) probabilities."""
        empty = posterior.new_zeros(posterior.shape[0], int(self.groups.max()) + 1, *posterior.shape[2:])
        return empty.index_add(1, self.groups, posterior).clamp_min(LEAST)
