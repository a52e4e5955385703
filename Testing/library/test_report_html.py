"""The page: whole in itself, escaped, in the order a reader needs, and silent about error without a reference."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from LowFieldEnhanceLib.errors import BadInput
from LowFieldEnhanceLib.evaluation.fidelity import FidelitySummary
from LowFieldEnhanceLib.evaluation.html import render_html, result_pictures, write_html
from LowFieldEnhanceLib.evaluation.report import NOTICE, build_report
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.segmentation.labels import LabelMap

SHAPE = (40, 40, 36)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
PROVENANCE = {
    "method": "bridged",
    "title": "Bridged diffusion",
    "citation": "A. Author & B. Author, MICCAI 2025",
    "preset": "fast",
    "seed": 7,
    "settings": {"steps": 4},
    "weights": {"bridge": "ab" * 32},
    "segmenter": {"name": "segmenter", "sha256": "cd" * 32},
    "licences": {"bridge": "CC BY-NC-SA-4.0, research only"},
    "input_sha256": "ef" * 32,
    "device": "cpu",
    "seconds": 12.5,
    "versions": {"lowfield-enhance": "0.1.0"},
}
PICTURES = {name: b"\x89PNG " + name.encode() for name in ("planes", "labels", "residual", "volumes")}


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of styles, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() and "style" not in self.inside:
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def label_map(size: int) -> LabelMap:
    array = np.zeros(SHAPE, np.uint8)
    array[5:35, 5:35, 5:30] = 2
    array[10 : 10 + size, 10:20, 10:20] = 10
    return LabelMap(array, AFFINE, {2: 0.9, 10: 0.8})


def parts(
    reference: bool = False, segmented: bool = True, file: str = "head.nii.gz", contrast: str = "T1w"
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    brain = np.zeros(SHAPE, bool)
    brain[5:35, 5:35, 5:30] = True
    return {
        "before": Image(rng.uniform(500, 900, SHAPE), AFFINE, "T1w"),
        "enhanced": Image(rng.uniform(500, 900, SHAPE), AFFINE, "T1w"),
        "brain": brain,
        "acquired": Image(np.ones((9, 9, 9)), np.diag([2.0, 2.0, 5.0, 1.0]), contrast, {"file": file}),
        "labels_before": label_map(5),
        "labels_after": label_map(8) if segmented else None,
        "reference": Image(rng.uniform(500, 900, SHAPE), AFFINE, "T1w") if reference else None,
        "reference_labels": label_map(10) if reference else None,
        "fidelity": FidelitySummary(40.0, 1.1, 0.02, 1.0, 0.0),
        "sigma_source": "user",
        "provenance": PROVENANCE,
    }


def report(**choices: Any) -> dict[str, Any]:  # noqa: ANN401
    return build_report(**parts(**choices))


@pytest.mark.parametrize("segmented", [True, False])
def test_the_page_without_a_reference_never_says_error_or_accuracy(segmented: bool) -> None:
    text = render_html(report(segmented=segmented, contrast="other"), PICTURES)
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text).lower()
    assert "error" not in text and "accura" not in text


def test_the_page_with_a_reference_gives_errors_and_image_scores() -> None:
    page = Page(render_html(report(reference=True), PICTURES))
    for heading in ("Error input, %", "Error enhanced, %", "Dice enhanced", "HD95, mm", "PSNR, dB", "SSIM"):
        assert heading in page.texts
    assert "−50.0" in page.texts and "−20.0" in page.texts  # 500 and 800 voxels against 1000


def test_the_page_of_a_whole_head_says_that_its_cortex_is_too_large_and_that_of_a_brain_alone_does_not() -> None:
    made = report()
    for alone in (False, True):
        made["input"]["brain_only"] = alone
        assert ("the whole head" in Page(render_html(made, PICTURES)).text) is not alone


def test_without_a_reference_the_page_gives_the_mean_change_of_the_data_and_what_it_leaves_out() -> None:
    made = report()  # the thalamus grew from 500 to 800 voxels, the white matter lost those 300 of its 22,000
    assert "Mean absolute volume change over 2 structures: 30.7 %." in Page(render_html(made, {})).text
    made["summary"]["left_out"] = ["CSF"]
    assert "over 2 structures: 30.7 % (left out: CSF)." in Page(render_html(made, {})).text
    made["summary"]["mean_absolute_change_percent"] = None
    assert "Mean absolute volume change" not in Page(render_html(made, {})).text


@pytest.mark.parametrize(
    ("source", "said"),
    [("background", "the background"), ("difference", "nearby voxels of the brain"), ("user", "given by the user")],
)
def test_where_the_noise_level_comes_from_is_said_in_words(source: str, said: str) -> None:
    text = Page(render_html(build_report(**{**parts(), "sigma_source": source}), {})).text
    told = text[text.index("Noise level 40") :].split("Model of the scanner")[0]
    assert said in told and f"from: {source}" not in told


def test_the_verdict_comes_first_then_the_notice() -> None:
    made = report()
    page = Page(render_html(made, PICTURES))
    body = page.texts[page.texts.index("LowFieldEnhance report: head.nii.gz", 1) + 1 :]
    assert body[:2] == [made["verdict"], NOTICE]


def test_the_sections_are_in_the_order_of_their_weight() -> None:
    page = Page(render_html(report(reference=True), PICTURES))
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections == ["pictures", "structures", "images", "fidelity", "input", "provenance"]
    pictures = [base64.b64decode(str(a["src"]).split(",")[1]) for tag, a in page.tags if tag == "img"]
    assert pictures == [PICTURES[name] for name in ("planes", "labels", "volumes", "residual")]
    assert all(attributes["alt"] for tag, attributes in page.tags if tag == "img")


def test_a_failed_check_raises_a_banner_and_a_plain_scan_none() -> None:
    good, bad = (Page(render_html(report(contrast=contrast), {})) for contrast in ("T1w", "other"))
    assert ("div", {"class": "warning"}) not in good.tags
    assert ("div", {"class": "warning"}) in bad.tags
    assert "the contrast is unknown and was treated as T1w." in bad.texts
    assert "This scan is outside the range that the models were trained in, so trust the result less:" in bad.texts


def test_the_banner_tells_the_range_of_the_weights_from_what_is_wrong_with_the_scan() -> None:
    small = parts()
    small["brain"] = np.zeros(SHAPE, bool)
    small["brain"][10:15, 10:15, 10:15] = True
    page = Page(render_html(build_report(**small, valid_range={"spacing_mm": (1.0, 3.0)}), {}))
    first = page.texts.index(
        "This scan is outside the range that the models were trained in, so trust the result less:"
    )
    assert "voxels of 2 x 2 x 5 mm are outside the 1 to 3 mm that the models know." == page.texts[first + 1]
    assert page.texts[first + 2].startswith("This scan is not what the report expects")
    assert "the brain found measures 8 mL" in page.texts[first + 3]
    assert first < page.texts.index(NOTICE) < page.texts.index("Structures")


def test_intensities_outside_the_training_open_the_report_with_the_banner() -> None:
    small = parts()
    valid = {"intensity": {"T1w": {"clipped_percent": [0, 100], "white_level": [2.0, 3.0]}}}
    page = Page(render_html(build_report(**small, valid_range=valid), {}))
    first = page.texts.index(
        "This scan is outside the range that the models were trained in, so trust the result less:"
    )
    assert page.texts[first + 1].startswith("white matter lies at ")
    assert page.texts[first + 1].endswith("of the intensity scale, outside the 2 to 3 seen in training.")
    assert first < page.texts.index(NOTICE) < page.texts.index("Structures")


def test_nothing_is_fetched_from_anywhere() -> None:
    text = render_html(report(reference=True), PICTURES)
    page = Page(text)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object", "a")]
    sources = [str(attributes["src"]) for _, attributes in page.tags if "src" in attributes]
    assert len(sources) == 4 and all(source.startswith("data:image/png;base64,") for source in sources)
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "http://" not in text and "https://" not in text
    policy = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in str(policy[0])


def test_everything_from_outside_is_escaped() -> None:
    evil = "<script>alert('x')</script>&\".nii"
    made = report(file=evil)
    made["provenance"] = {**PROVENANCE, "citation": evil, "settings": {evil: evil}, "weights": {evil: evil}}
    page = Page(render_html(made, {evil: b"png"}))
    assert "script" not in [tag for tag, _ in page.tags]
    assert f"LowFieldEnhance report: {evil}" in page.text
    assert [a["alt"] for tag, a in page.tags if tag == "img"] == [evil]


def test_the_provenance_is_complete_and_may_be_absent() -> None:
    text = Page(render_html(report(), {})).text
    expected = (
        "A. Author & B. Author, MICCAI 2025", "fast", "ab" * 32, "cd" * 32, "ef" * 32, "12.5", "0.1.0", "research only",
        '{"steps": 4}', "The same one".lower(),
    )  # fmt: skip
    for value in expected:
        assert value in text
    made = report()
    made["provenance"] = {}
    assert "Scan" in Page(render_html(made, {})).texts


def test_the_fidelity_is_explained_with_its_figures() -> None:
    text = Page(render_html(report(), {})).text
    assert "more than 3 times the noise in 2.0 % of the brain's voxels (noise alone: 0.27 %)" in text
    assert "1.10 noise standard deviations" in text


def test_what_rounds_to_nothing_has_no_sign() -> None:
    made = report()
    made["structures"][0]["change_percent"] = -0.04
    page = Page(render_html(made, PICTURES))
    assert "0.0" in page.texts and "−0.0" not in page.texts and "+0.0" not in page.texts


def test_undefined_values_are_dashes() -> None:
    made = report()
    made["structures"][0]["change_percent"] = None
    made["fidelity"]["rms"] = None
    made["fidelity"]["sigma"] = None
    assert "–" in Page(render_html(made, {})).texts


def test_the_page_adapts_to_phones_and_paper() -> None:
    text = render_html(report(), {})
    assert 'name="viewport"' in text
    assert "@media (max-width: 600px)" in text and "@media print" in text and "size: A4" in text


def test_a_phone_gets_the_narrow_layout_of_a_picture_where_there_is_one() -> None:
    page = Page(render_html(report(), {**PICTURES, "planes_narrow": b"phone"}))
    sources = [attributes for tag, attributes in page.tags if tag == "source"]
    assert [base64.b64decode(str(s["srcset"]).split(",")[1]) for s in sources] == [b"phone"]
    assert sources[0]["media"] == "screen and (max-width: 600px)"
    order = [tag for tag, _ in page.tags if tag in ("source", "img")]
    assert order[:2] == ["source", "img"] and order.count("img") == len(PICTURES)


def test_a_long_report_is_printed_smaller_so_that_it_stays_on_two_sheets() -> None:
    made = report()
    assert ("body", {}) in Page(render_html(made, {})).tags
    made["input_checks"] = [{**check, "ok": False} for check in made["input_checks"]]
    assert ("body", {"class": "dense"}) in Page(render_html(made, {})).tags


@pytest.mark.parametrize("segmented", [True, False])
def test_the_pictures_of_a_result_are_those_the_page_knows(segmented: bool, tmp_path: Path) -> None:
    made = parts(segmented=segmented)
    result = SimpleNamespace(
        before=made["before"], enhanced=made["enhanced"], brain=made["brain"], labels_after=made["labels_after"],
        fidelity=made["acquired"], report=build_report(**made),
    )  # fmt: skip
    pictures = result_pictures(result)
    phone = {"planes", "planes_narrow"} | ({"labels", "labels_narrow"} if segmented else set())
    assert set(pictures) == phone | {"residual", "volumes"}
    assert all(data.startswith(b"\x89PNG") for data in pictures.values())
    write_html(result.report, pictures, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render_html(result.report, pictures)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        write_html(report(), {}, tmp_path / "absent" / "report.html")
