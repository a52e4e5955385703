"""The bridge's network: the paper's SwinUNETR beside our residual U-Net, trained for the same time by the same loss.

    python Testing/benchmarks/bridge_networks.py --data DATA --minutes 12 --work FOLDER

Both start from random weights and see the same pairs (recipe of the bridge without its anatomy loss); a third row is
the residual U-Net trained for about as many steps as SwinUNETR took. Scored on ULF-sim v1 (see
quality.py), images only. SwinUNETR is MONAI's (pip install monai einops), which nothing else here needs.
Writes bridge_networks.json and bridge_networks.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from quality import HEADS, Subject, load_subject, table
from torch import Tensor, nn

from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.methods.base import PRESENCE_VALUE, Case
from LowFieldEnhanceLib.networks.companions import roles, told_of
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.networks.windows import WindowedNetwork
from LowFieldEnhanceLib.segmentation.segmenter import Segmenter
from LowFieldEnhanceLib.training.bridged import BRIDGE, BridgeLoss
from LowFieldEnhanceLib.training.data import data_root, load_heads
from LowFieldEnhanceLib.training.loop import Plan, train
from LowFieldEnhanceLib.training.pairs import PairSampler

FOLDER = Path(__file__).resolve().parent
OURS, THEIRS, STOPPED = "residual U-Net", "SwinUNETR", "residual U-Net, as many steps"
WINDOW, OVERLAP = 96, 0.25
COLUMNS = [
    ("psnr", "PSNR dB ↑", "{:.2f}"),
    ("ssim", "SSIM ↑", "{:.3f}"),
    ("lpips", "LPIPS ↓", "{:.4f}"),
    ("seconds", "s a head", "{:.1f}"),
    ("parameters", "parameters, M", "{:.1f}"),
    ("minutes", "training, min", "{:.1f}"),
    ("steps", "steps", "{:.0f}"),
]


class SwinBridge(nn.Module):
    """MONAI's SwinUNETR in its default size; it has no way to be told of the acquisition."""

    multiple = 32

    def __init__(self) -> None:
        super().__init__()
        from monai.networks.nets import SwinUNETR

        self.net = SwinUNETR(in_channels=BRIDGE["in_channels"], out_channels=BRIDGE["out_channels"])

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(B, 6, I, J, K) -> (B, 3, I, J, K), scaled as the residual U-Net's answer is."""
        return BRIDGE["output_scale"] * self.net(x)


def enhanced(network: nn.Module, subject: Subject) -> tuple[Any, float]:
    """The bridge's estimate on one head in the scan's intensities, and the seconds it took."""
    case = Case.of(subject.prepared)
    channel = case.channel_of(case.target)
    low, target, _ = roles(*case.channels(), [channel])
    told = told_of(case.told()[0], channel)[None]
    started = time.monotonic()
    residual = WindowedNetwork(network.eval(), WINDOW, OVERLAP)(torch.cat([low, PRESENCE_VALUE * target], 1), told)
    seconds = time.monotonic() - started
    return subject.prepared.back((low + residual).clamp(-1.0, 1.5)[0, channel].numpy()), seconds


def trained(network: nn.Module, minutes: float, root: Path, work: Path) -> dict[str, Any]:
    """Train from random weights on one thread; what the run says of itself. ``network`` then has its averages."""
    heads = load_heads(root, ("oasis", "openms", "brats"))
    done = train(network, BridgeLoss(PairSampler(heads, seed=0), 2, "cpu"), Plan(work, minutes))
    network.load_state_dict(done["weights"])
    count = sum(parameter.numel() for parameter in network.parameters())
    return {"minutes": done["minutes"], "steps": done["steps"], "parameters": count / 1e6}


def main() -> None:
    """Train and score the three rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: LOWFIELDENHANCE_DATA")
    parser.add_argument("--minutes", type=float, default=12.0, help="of training, each")
    parser.add_argument("--limit", type=int, default=len(HEADS), help="heads at most")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, default=FOLDER / "bridge_networks.json")
    options = parser.parse_args()
    root = data_root(options.data)
    torch.set_num_threads(1)
    lpips, segmenter = Lpips(root / "lpips" / "squeezenet1_1.pth"), Segmenter()
    names = HEADS[: options.limit]
    subjects = [load_subject(root, name, 1000 + number, segmenter) for number, name in enumerate(names)]
    runs: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for number, name in enumerate((OURS, THEIRS, STOPPED)):
        torch.manual_seed(0)
        network = SwinBridge() if name == THEIRS else build_network(BRIDGE)
        share = runs[THEIRS]["steps"] / runs[OURS]["steps"] if name == STOPPED else 1.0
        runs[name] = trained(network, share * options.minutes, root, options.work / str(number))
        for subject in subjects:
            image, seconds = enhanced(network, subject)
            scores = score_images(subject.truth.array, image.array, subject.brain, lpips)
            images = {key: getattr(scores, key) for key in ("psnr", "ssim", "lpips")}
            rows.setdefault(name, {})[subject.name] = {**images, "seconds": seconds, **runs[name]}
        text = table("network", rows, COLUMNS)
        options.out.write_text(json.dumps({"runs": runs, "rows": rows}, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(text, encoding="utf-8")
        print(text, flush=True)


if __name__ == "__main__":
    main()
