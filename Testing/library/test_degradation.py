"""The file that says what simulated scans are drawn from: what it changes, and what it may not say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.training.data import Head
from LowFieldEnhanceLib.training.degradation import DegradationRange
from LowFieldEnhanceLib.training.pairs import PairSampler


def written(folder: Path, text: str) -> Path:
    path = folder / "degradation.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_field_that_the_file_names_is_changed_and_no_other(tmp_path: Path) -> None:
    path = written(tmp_path, '{"snr": [15, 25], "protocol": [1.6, 1.6, 5], "filtered_share": 0, "most_grown": 2}')
    expected = replace(DegradationRange(), snr=(15, 25), protocol=(1.6, 1.6, 5), filtered_share=0, most_grown=2)
    assert DegradationRange.read(path) == expected
    assert DegradationRange.read(written(tmp_path, "{}")) == DegradationRange()


def test_every_scan_of_a_protocol_has_its_spacing_and_noise(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        json.dumps({"protocol": [2, 1.5, 5], "snr": [20, 20], "misjudged": [0, 0], "unknown": 0, "filtered_share": 0}),
    )
    images = torch.full((3, 40, 40, 40), -1.0)
    images[0, 8:32, 8:32, 8:32] = 0.5
    mask = images[0] > -1
    head = Head("a", images.half(), torch.tensor([True, False, False]), mask, None)
    sampler = PairSampler([head], patch=16, ranges=DegradationRange.read(path), seed=0)
    told = torch.stack([sampler.pair()[3][0] for _ in range(6)])
    free = PairSampler([head], patch=16, ranges=DegradationRange(misjudged=(0, 0), unknown=0), seed=0)
    assert torch.equal(told, told[:1].expand(6, -1))
    assert len({tuple(free.pair()[3][0].tolist()) for _ in range(6)}) == 6
    # the network is told of the logarithm of the spacing: 2, 1.5 and 5 mm differ as they should
    assert told[0, 2] > told[0, 0] > told[0, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not JSON", "read as JSON"),
        ("[1]", "not an object"),
        ('{"snr_range": [8, 40]}', "unknown field 'snr_range'; there are in_plane"),
        ('{"snr": [0, 40]}', r"cannot have \[0, 40\] as 'snr'"),
        ('{"snr": [40, 8]}', "as 'snr'"),
        ('{"snr": 20}', "as 'snr'"),
        ('{"snr": [8, NaN]}', "as 'snr'"),
        ('{"snr": [true, 8]}', "as 'snr'"),
        ('{"in_plane": [0, 0]}', "as 'in_plane'"),
        ('{"slices": [300, 300]}', "as 'slices'"),
        ('{"width_factor": [0, 1]}', "as 'width_factor'"),
        ('{"filtered_share": 1.5}', "as 'filtered_share'"),
        ('{"bias": -0.1}', "as 'bias'"),
        ('{"bias": "much"}', "as 'bias'"),
        ('{"most_grown": 1.5}', "as 'most_grown'"),
        ('{"misjudged": [0.1]}', "as 'misjudged'"),
        ('{"protocol": [1.6, 5]}', "as 'protocol'"),
        ('{"protocol": [1.6, 1.6, 50]}', "as 'protocol'"),
        ('{"protocol": "v1"}', "as 'protocol'"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        DegradationRange.read(written(tmp_path, text))


def test_a_pair_of_deviations_need_not_rise(tmp_path: Path) -> None:
    assert DegradationRange.read(written(tmp_path, '{"misjudged": [0.2, 0.1]}')).misjudged == (0.2, 0.1)
    with pytest.raises(BadInput, match="cannot be read"):
        DegradationRange.read(tmp_path / "none.json")
