"""The samples in Slicer's Sample Data module: complete, checked, and fetched by nobody here."""

from __future__ import annotations

import hashlib
import socket
import sys
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
import slicer
from slicer.util import extractAlgoAndDigest

from LowFieldEnhanceLib.errors import MissingModel
from LowFieldEnhanceLib.image_io import DERIVED
from LowFieldEnhanceSlicer import sample_data
from LowFieldEnhanceSlicer.sample_data import BUNDLED_NAME, CATEGORY, registerSampleData

MODULE_FOLDER = Path(__file__).resolve().parents[2] / "LowFieldEnhance"


@pytest.fixture
def sources(application, monkeypatch):
    """What is registered, by name; a connection to anywhere fails."""

    def refuse(*arguments):
        raise AssertionError("registering must not open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    registerSampleData(MODULE_FOLDER)
    return {source["sampleName"]: source for source in slicer.modules.sampleDataSources[CATEGORY]}


def test_the_bundled_head_and_pairs_of_both_contrasts_are_offered(sources):
    assert BUNDLED_NAME in sources
    pairs = [name for name in sources if name.startswith("ds006557")]
    assert len(pairs) == len(sources) - 1 and {name[-3:] for name in pairs} == {"T1w", "T2w"}


def test_the_bundled_files_are_those_of_the_checksums(sources):
    source = sources[BUNDLED_NAME]
    for uri, fileName, checksum in zip(source["uris"], source["fileNames"], source["checksums"], strict=True):
        path = Path(url2pathname(urlparse(uri).path))
        assert urlparse(uri).scheme == "file" and path.name == fileName
        assert checksum == f"SHA256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_every_file_has_a_name_a_node_and_a_checksum_that_slicer_reads(sources):
    fileNames = []
    for source in sources.values():
        lengths = {len(source[key]) for key in ("uris", "fileNames", "nodeNames", "checksums")}
        assert lengths == {2}
        for checksum in source["checksums"]:
            algorithm, digest = extractAlgoAndDigest(checksum)
            assert algorithm == "SHA256" and set(digest) <= set("0123456789abcdef")
        fileNames += source["fileNames"]
    assert len(set(fileNames)) == len(fileNames), "Slicer keeps all downloads in one folder, by these names"
    checksums = [item for source in sources.values() for item in source["checksums"]]
    assert len(set(checksums)) == len(checksums)


def test_pairs_come_from_the_data_set_over_https(sources):
    for name, source in sources.items():
        if name == BUNDLED_NAME:
            continue
        _, subject, contrast = name.split("_")
        for uri, session in zip(source["uris"], ("ses-HFC", "ses-GE"), strict=True):
            assert uri.startswith(f"https://s3.amazonaws.com/openneuro.org/ds006557/sub-{subject}/{session}/anat/")
            assert uri.endswith(f"_{contrast}.nii.gz")


def test_node_names_end_in_the_contrast_so_that_it_can_be_guessed(sources):
    for source in sources.values():
        for fileName, nodeName in zip(source["fileNames"], source["nodeNames"], strict=True):
            assert nodeName.endswith(fileName.removesuffix(".nii.gz")[-4:])


def test_each_sample_has_a_small_picture(sources):
    for source in sources.values():
        picture = Path(source["thumbnailFileName"])
        assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size < 60_000


@pytest.mark.parametrize("state", ["no resources", "files left out"])
def test_without_the_bundled_files_the_rest_is_offered(application, monkeypatch, tmp_path, state):
    def missing(*parts):
        if state == "no resources":
            raise MissingModel("the Resources folder was not found")
        return tmp_path.joinpath(*parts)

    monkeypatch.setattr(sample_data, "resource", missing)
    registerSampleData(MODULE_FOLDER)
    names = [source["sampleName"] for source in slicer.modules.sampleDataSources[CATEGORY]]
    assert BUNDLED_NAME not in names and len(names) == len(sample_data.PAIRS)


def test_without_slicers_module_for_samples_the_start_goes_on(application, monkeypatch):
    application.loadModule(MODULE_FOLDER / "LowFieldEnhance.py")
    monkeypatch.setitem(sys.modules, "SampleData", None)
    application.finishStartup()
    assert not hasattr(slicer.modules, "sampleDataSources") and not application.errors


def test_derived_volumes_are_marked_even_if_slicer_refuses_the_samples(application, monkeypatch):
    def refuse(**source):
        raise TypeError("a setting of another version")

    application.loadModule(MODULE_FOLDER / "LowFieldEnhance.py")
    monkeypatch.setattr(sys.modules["SampleData"].SampleDataLogic, "registerCustomSampleDataSource", refuse)
    application.finishStartup()
    assert str(application.errors.pop()) == "a setting of another version"
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 4, 4), np.float32), name=f"Head ({DERIVED})")
    slicer.util.setSliceViewerLayers(background=volume)
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    shown = view.renderWindow().GetRenderers().GetFirstRenderer().GetViewProps()
    texts = [item.GetText(corner) for item in shown if item.IsA("vtkCornerAnnotation") for corner in range(8)]
    assert DERIVED in texts
