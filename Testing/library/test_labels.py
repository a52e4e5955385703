"""The label table: sides, colours, and the way between FreeSurfer ids and network channels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from LowFieldEnhanceLib.segmentation.labels import (
    MERGED,
    LabelMap,
    from_channels,
    label_by_id,
    label_table,
    mirrored_channels,
    to_channels,
)

IDS = [label.id for label in label_table()]
# FreeSurferColorLUT.txt, and the meaning of the structure's code in DICOM's CID 7140
FREESURFER = {
    (2, 41): ("Cerebral White Matter", "Cerebral White Matter"),
    (3, 42): ("Cerebral Cortex", "Cerebral Gray Matter"),
    (4, 43): ("Lateral Ventricle", "Lateral Ventricle"),
    (5, 44): ("Inferior Lateral Ventricle", "Inferior Horn of Lateral Ventricle"),
    (7, 46): ("Cerebellum White Matter", "Cerebellar White Matter"),
    (8, 47): ("Cerebellum Cortex", "Cerebellar Cortex"),
    (10, 49): ("Thalamus", "Thalamus"),
    (11, 50): ("Caudate", "Caudate Nucleus"),
    (12, 51): ("Putamen", "Putamen"),
    (13, 52): ("Pallidum", "Globus Pallidus"),
    (14,): ("3rd Ventricle", "Third Ventricle"),
    (15,): ("4th Ventricle", "Fourth Ventricle"),
    (16,): ("Brain Stem", "Brain Stem"),
    (17, 53): ("Hippocampus", "Hippocampus"),
    (18, 54): ("Amygdala", "Amygdala"),
    (24,): ("CSF", "Cranial Subarachnoid Space"),
    (26, 58): ("Accumbens", "Nucleus Accumbens"),
    (28, 60): ("Ventral DC", "Ventral Diencephalon"),
}


def test_ids_are_unique_ascending_and_fit_a_byte() -> None:
    assert sorted(set(IDS)) == IDS
    assert 0 < IDS[0] and IDS[-1] <= 255
    assert set(label_by_id()) == set(IDS)


def test_names_are_unique_and_say_their_side() -> None:
    assert len({label.name for label in label_table()}) == len(IDS)
    for label in label_table():
        assert label.side == ("left" if label.name.startswith("Left ") else "right" if "Right " in label.name else "")


def test_names_and_meanings_are_those_of_freesurfers_ids() -> None:
    expected = {}
    for ids, (name, meaning) in FREESURFER.items():
        for side, number in zip(("Left ", "Right ") if len(ids) == 2 else ("",), ids, strict=True):
            expected[number] = (f"{side}{name}", meaning)
    assert {label.id: (label.name, label.meaning) for label in label_table()} == expected


def test_the_codes_are_those_of_dicoms_list_of_brain_structures() -> None:
    """CID 7140 as pydicom holds it."""
    listed = [getattr(codes.cid7140, name) for name in dir(codes.cid7140)]
    known = {(c.scheme_designator, c.value): c.meaning.lower() for c in listed if isinstance(c, Code)}
    for label in label_table():
        assert known[label.scheme, label.code] == label.meaning.lower()


def test_partners_are_the_same_structure_on_the_other_side() -> None:
    for label in label_table():
        partner = label_by_id()[label.partner]
        assert partner.partner == label.id
        assert (label.side, partner.side) in {("left", "right"), ("right", "left"), ("", "")}
        assert (partner.id == label.id) == (label.side == "")
        assert partner.name.split(" ", 1)[-1] == label.name.split(" ", 1)[-1]
        assert (partner.tissue, partner.scheme, partner.code, partner.meaning) == (
            label.tissue, label.scheme, label.code, label.meaning,
        )  # fmt: skip


def test_every_structure_has_its_own_colour_and_both_sides_share_it() -> None:
    """FreeSurfer's own table gives the two pallida 12 and 13 of red; nobody sees that."""
    owners: dict[tuple[int, int, int], set[int]] = defaultdict(set)
    for label in label_table():
        assert all(0 <= value <= 255 for value in label.colour)
        owners[label.colour].add(min(label.id, label.partner))
        assert np.abs(np.subtract(label.colour, label_by_id()[label.partner].colour)).max() <= 1
    assert all(len(structures) == 1 for structures in owners.values())


def test_codes_name_one_structure_each() -> None:
    structures = {(label.scheme, label.code): min(label.id, label.partner) for label in label_table()}
    assert len(structures) == len({min(label.id, label.partner) for label in label_table()})
    assert {label.scheme for label in label_table()} <= {"SCT", "DCM"}
    assert all(label.code.isdigit() and label.meaning for label in label_table())
    assert {label.tissue for label in label_table()} == {"WM", "GM", "CSF"}


@settings(max_examples=40, deadline=None, database=None)
@given(ids=st.lists(st.sampled_from([0, *IDS]), min_size=1, max_size=50))
def test_channels_and_ids_are_inverse(ids: list[int]) -> None:
    array = np.array(ids).reshape(-1, 1, 1)
    channels = to_channels(array)
    assert channels.dtype == np.uint8
    assert channels.max() <= len(IDS)
    np.testing.assert_array_equal(from_channels(channels), array)


def test_background_is_channel_zero_and_the_rest_follow_the_table() -> None:
    np.testing.assert_array_equal(to_channels(np.array([0, *IDS])), np.arange(len(IDS) + 1))


def test_merged_ids_go_to_a_label_of_the_same_side_that_exists() -> None:
    for source, target in MERGED.items():
        assert source not in IDS
        assert target in IDS
        assert from_channels(to_channels(np.array([source])))[0] == target


@pytest.mark.parametrize(
    ("left", "right"),
    [(25, 57), (29, 61), (30, 62), (31, 63), (78, 79), (136, 163), (137, 164)],
    ids=lambda value: str(value),
)
def test_merged_pairs_go_to_partners(left: int, right: int) -> None:
    assert label_by_id()[MERGED[left]].side == "left"
    assert label_by_id()[MERGED[left]].partner == MERGED[right]


def test_what_the_table_does_not_know_is_background() -> None:
    np.testing.assert_array_equal(to_channels(np.array([502, 1, 530, 256, -1, -254])), 0)


def test_mirroring_exchanges_the_sides_and_is_its_own_inverse() -> None:
    mirror = mirrored_channels()
    assert mirror[0] == 0
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(IDS) + 1))
    for left, right in ((2, 41), (17, 53), (14, 14), (24, 24)):
        assert from_channels(mirror[to_channels(np.array([left]))])[0] == right


def test_left_is_negative_r_in_the_phantom(head_labels: LabelMap) -> None:
    """The convention that every other test of sides rests on: RAS, so label 2 lies at R < 0."""
    i = np.argwhere(head_labels.array == 2) @ head_labels.affine[:3, :3].T + head_labels.affine[:3, 3]
    assert i[:, 0].max() < 0
    assert label_by_id()[2].side == "left"


def test_a_label_map_holds_bytes_and_its_volume() -> None:
    labels = LabelMap(np.array([[[2, 41]]]), np.diag([-2, 2, 5, 1]), {2: 0.9})
    assert labels.array.dtype == np.uint8
    assert labels.voxel_volume_ml == pytest.approx(0.02)
    image = labels.as_image()
    np.testing.assert_array_equal(image.array, [[[2, 41]]])
    np.testing.assert_array_equal(image.affine, labels.affine)
