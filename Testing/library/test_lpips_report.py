"""LPIPS for a user: one file of weights, checked before the work; the figure in every form of the report."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cli_support import run_json
from judging_support import OPTIONS
from test_report_schema import DOCUMENT, violations

from LowFieldEnhanceLib import compare as comparison
from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.batch_command import EachScan
from LowFieldEnhanceLib.batch_scans import Scan
from LowFieldEnhanceLib.cli import build_parser
from LowFieldEnhanceLib.comparison_files import to_csv, to_markdown
from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation import lpips as module
from LowFieldEnhanceLib.evaluation.html import render_html
from LowFieldEnhanceLib.evaluation.intensity import score_images
from LowFieldEnhanceLib.evaluation.lpips import Lpips
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import write_image

pytest_plugins = ["judging_fixtures", "lpips_fixtures"]
pytestmark = pytest.mark.usefixtures("quick_pipeline", "heads")


@pytest.fixture
def heads(weights: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of those of the package."""
    monkeypatch.setattr(module, "default_heads_path", lambda: weights[1])


@pytest.fixture
def result(low: Image, high: Image, weights: tuple[Path, Path], heads: None) -> pipeline.Result:
    settings = replace(OPTIONS, lpips=weights[0], data_consistency=True, sigma=2.0)  # noise so low that it has to act
    return pipeline.enhance(low, settings, reference=high)


def test_the_report_gives_the_metric_of_the_same_images_and_says_which_weights(
    result: pipeline.Result, weights: tuple[Path, Path]
) -> None:
    report, metric = result.report, Lpips(*weights)
    assert result.reference is not None
    for name, image in (("input", result.before), ("enhanced", result.enhanced)):
        expected = score_images(result.reference.array, image.array, result.brain, metric).lpips
        assert expected is not None and report["images"][name]["lpips"] == pytest.approx(expected)
    assert report["images"]["input"]["lpips"] != report["images"]["enhanced"]["lpips"]
    assert report["data_consistency"]["images_before"]["lpips"] > 0
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in weights]
    assert report["provenance"]["lpips_sha256"] == dict(zip(("backbone", "heads"), digests, strict=True))
    assert list(violations(json.loads(json.dumps(report)), DOCUMENT)) == []
    page = render_html(report, {})
    assert page.count('<th scope="col">LPIPS</th>') == 2 and digests[0] in page
    assert f"<td>{report['images']['enhanced']['lpips']:.4f}</td>" in page and "MAE and LPIPS refer to" in page


def test_without_the_option_nothing_is_said_of_it(low: Image, high: Image) -> None:
    report = pipeline.enhance(low, OPTIONS, reference=high).report
    assert report["images"]["enhanced"]["lpips"] is None and "lpips_sha256" not in report["provenance"]
    page = render_html(report, {})
    width = report["images"]["enhanced"]["data_range"]
    assert "LPIPS" not in page and f"minus its minimum, {width:.4g} in its unit" in " ".join(page.split())


def test_a_comparison_has_its_column(low: Image, high: Image, weights: tuple[Path, Path]) -> None:
    settings = replace(OPTIONS, lpips=weights[0])
    found = comparison.compare(low, [("cubic", "fast"), ("linear", "fast")], settings, reference=high)
    assert found.columns["lpips"] == "LPIPS"
    table = list(csv.DictReader(io.StringIO(to_csv(found))))
    reports = list(found.reports.values())
    expected = [reports[0]["images"]["input"], *(report["images"]["enhanced"] for report in reports)]
    assert [float(row["lpips"]) for row in table] == [scores["lpips"] for scores in expected]
    assert f"| {expected[1]['lpips']:.4f} |" in to_markdown(found)
    width = f"{expected[1]['data_range']:.4g} in its unit"
    for text in (to_markdown(found), table[0]["about_images"]):
        assert "PSNR, SSIM and LPIPS count the brain, after a linear fit" in text and width in text
    plain = comparison.compare(low, [("cubic", "fast")], OPTIONS, reference=high)
    assert "PSNR and SSIM count the brain" in to_markdown(plain)
    alone = comparison.compare(low, [("cubic", "fast")], OPTIONS)
    assert "linear fit" not in to_markdown(alone) and "about_images" not in to_csv(alone)
    assert "lpips" not in plain.columns and all("lpips" not in row for row in plain.rows)


@pytest.mark.parametrize("file", ["absent.pth", "text.pth", "other.pth", "numbers.pth", "folder"])
def test_a_file_that_cannot_be_used_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"conv.weight": torch.ones(2)}, tmp_path / "other.pth")
    torch.save({3: torch.ones(2)}, tmp_path / "numbers.pth")
    (tmp_path / "folder").mkdir()
    given, out = ["--reference", "none.nii", "--lpips", str(tmp_path / file)], str(tmp_path / "out")
    for command in (
        ["enhance", "none.nii", "-o", f"{out}.nii", *given],
        ["report", "none.nii", "none.nii", "-o", f"{out}.html", *given],
        ["compare", "none.nii", "-o", out, *given],
        ["batch", str(tmp_path), "-o", out, *given[2:]],
        ["demo", "--output", out, *given[2:]],
    ):
        code, events = run_json(capsys, *command)
        assert (code, events[-1]["kind"]) == (2, "BadInput") and file in events[-1]["message"]
        assert not Path(out).exists()
    with pytest.raises(BadInput, match=file):
        pipeline.Options(lpips=tmp_path / file).check()


def test_so_is_the_option_without_the_package_or_a_reference(
    low: Image, weights: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, events = run_json(capsys, "enhance", "none.nii", "-o", "out.nii", "--lpips", str(weights[0]))
    assert code == 2 and "--lpips needs --reference" in events[-1]["message"]
    with pytest.raises(BadInput, match="LPIPS compares with a reference"):
        pipeline.enhance(low, replace(OPTIONS, lpips=weights[0]))
    monkeypatch.undo()  # the heads are those of the package again
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="pip install --no-deps lpips"):
        pipeline.Options(lpips=weights[0]).check()
    with pytest.raises(BadInput, match="must be the path of a file, not int"):
        pipeline.Options(lpips=3).check()  # type: ignore[arg-type]


def test_a_batch_does_scans_with_a_reference_again_for_it_and_no_others(
    low: Image, high: Image, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in ("scan_T1w.nii.gz", "reference_T1w.nii.gz")]
    for image, path in zip((low, high), paths, strict=True):
        write_image(image, path, "a scan")
    with_it, without = (
        EachScan(build_parser().parse_args(["batch", "x.nii", "-o", "out", *given]))
        for given in (["--lpips", str(weights[0])], [])
    )
    scan, alone = Scan("s", paths[0], None, paths[1]), Scan("s", paths[0])
    assert with_it.request(scan) != without.request(scan)
    assert with_it.request(alone) == without.request(alone)
    assert with_it.of_one_scan(scan, tmp_path).lpips == str(weights[0])
    assert with_it.of_one_scan(alone, tmp_path).lpips is None
    digest = hashlib.sha256(weights[0].read_bytes()).hexdigest()
    assert with_it.settings["options"]["lpips_sha256"]["backbone"] == digest
