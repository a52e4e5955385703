"""An enhanced volume made elsewhere that does not show all of the scan's brain: what it lacks is no change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from judging_support import LESION_MM, ball
from phantoms import phantom_head
from test_reference_limits import check, cut, warnings_of

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap

pytest_plugins = ["judging_fixtures"]
pytestmark = pytest.mark.usefixtures("quick_pipeline")


@pytest.fixture(scope="module")
def whole(quick_pipeline: None, low: Image, high: Image) -> pipeline.Result:
    return pipeline.assess(low, high, "cpu", spacing=4.0)


def padded(high: Image, planes: int) -> Image:
    """With nothing in its lowest planes, as of a volume that was brought to the scan's grid."""
    array = high.array.copy()
    array[:, :, :planes] = 0
    return high.with_array(array)


def lowest(whole: pipeline.Result, share: float) -> int:
    """How many planes hold at most this share of the brain; the phantom's planes lie half a plane higher."""
    sums = np.cumsum(whole.brain.sum(axis=(0, 1))) / whole.brain.sum()
    return int(np.count_nonzero(sums <= share))


@pytest.mark.parametrize("lacking", [cut, padded])
@pytest.mark.parametrize("share", [0.15, 0.5])
def test_a_volume_that_shows_too_little_of_the_brain_is_refused(
    low: Image, high: Image, whole: pipeline.Result, share: float, lacking: Callable[[Image, int], Image]
) -> None:
    with pytest.raises(BadInput, match=r"shows \d+% of the brain that is in the scan; is it of the same head"):
        pipeline.assess(low, lacking(high, lowest(whole, share) + 1), "cpu", spacing=4.0)


def test_where_a_small_part_is_missing_its_share_is_told_and_nothing_said_of_what_reaches_out(
    low: Image, high: Image, whole: pipeline.Result
) -> None:
    planes = lowest(whole, 0.07)
    short, seen = cut(high, planes), []
    report = pipeline.assess(low, short, "cpu", spacing=4.0, reference=high, events=Events(seen.append)).report
    begins = short.affine[2, 3] - 2.0  # edge of its lowest voxels, which are 4 mm high
    first = np.count_nonzero(whole.enhanced.affine[2, 3] + 4.0 * np.arange(whole.enhanced.shape[2]) < begins - 1e-6)
    share = 100 * whole.brain[:, :, first:].sum() / whole.brain.sum()
    told = check(report, "enhanced volume")
    assert not told["ok"] and not told["trained_range"]
    assert told["text"].startswith(f"the enhanced volume shows {share:.1f} % of the brain, and nothing is said of")
    assert told["text"] in warnings_of(seen)
    reaching = [row for row in report["structures"] if "not wholly in the enhanced volume" in (row["note"] or "")]
    kept = [row for row in report["structures"] if row not in reaching]
    assert reaching and kept
    for row in reaching:
        assert row["change_percent"] is None and row["error_enhanced_percent"] is None and row["dice_enhanced"] is None
    assert all(row["change_percent"] is not None and row["dice_enhanced"] is not None for row in kept)
    assert report["summary"]["structures"] == len([row for row in kept if row["label_id"] != 24])
    assert report["images"]["mask"] == "brain inside the enhanced volume"
    # the planes that are missing contradict nothing
    assert report["fidelity"]["rms"] == pytest.approx(whole.report["fidelity"]["rms"], rel=0.05)


def test_the_verdict_names_no_structure_that_was_cut(low: Image, high: Image, whole: pipeline.Result) -> None:
    report = pipeline.assess(low, cut(high, lowest(whole, 0.07)), "cpu", spacing=4.0).report
    reaching = [row["name"] for row in report["structures"] if "not wholly" in (row["note"] or "")]
    assert reaching and not any(name in report["verdict"] for name in reaching)


def test_a_marked_region_that_the_volume_does_not_show_is_not_measured_in_it(
    low: Image, high: Image, whole: pipeline.Result
) -> None:
    below = (-20.0, 0.0, float(whole.enhanced.affine[2, 3] + 4.0 * (lowest(whole, 0.07) + 1)))
    marks = ball(high, LESION_MM, 9.0) + 2 * ball(high, below, 9.0).astype(np.uint8)
    lesions = LabelMap(marks.astype(np.uint8), high.affine, {})
    report = pipeline.assess(low, cut(high, lowest(whole, 0.07)), "cpu", spacing=4.0, lesions=lesions).report
    rows = {row["label"]: row for row in report["lesions"]["regions"]}
    assert rows[1]["survives"] is True
    assert rows[2]["enhanced"]["contrast_percent"] is None and rows[2]["survives"] is None


def test_nor_does_a_volume_show_what_it_was_padded_with(low: Image, high: Image, whole: pipeline.Result) -> None:
    report = pipeline.assess(low, padded(high, lowest(whole, 0.07)), "cpu", spacing=4.0).report
    assert not check(report, "enhanced volume")["ok"]
    assert any("not wholly in the enhanced volume" in (row["note"] or "") for row in report["structures"])


def test_a_brain_that_was_cut_out_a_little_tighter_is_shown_as_a_whole(
    low: Image, high: Image, whole: pipeline.Result
) -> None:
    array = np.where(phantom_head()[1].array > 0, high.array, 0)
    array[:, :, : lowest(whole, 0.02)] = 0
    report = pipeline.assess(low, high.with_array(array), "cpu", spacing=4.0).report
    assert check(report, "enhanced volume")["ok"]


def test_a_volume_that_shows_all_of_the_brain_passes(whole: pipeline.Result) -> None:
    assert check(whole.report, "enhanced volume") == {
        "name": "enhanced volume", "ok": True, "text": "the enhanced volume shows 100.0 % of the brain",
        "trained_range": False,
    }  # fmt: skip
