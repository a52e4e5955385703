"""The contrast that the name of a file or a series tells."""

from __future__ import annotations

import pytest

from LowFieldEnhanceLib.contrast_names import guess_contrast, other_kind


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("sub-01_T1w.nii.gz", "T1w"),
        ("ax_t2_flair", "FLAIR"),
        ("T2 axial", "T2w"),
        ("AX T1 FLAIR", "T1w"),
        ("T1_FLAIR_SAG", "T1w"),
        ("sub-01_desc-t1flair", "T1w"),
        ("t2_flair_T1space", "FLAIR"),
        ("sub-01_space-T2w_T1w", "T1w"),
        ("sub-01_space-T1w_T2w", "T2w"),
        ("sub-01_space-FLAIR_T1w.nii.gz", "T1w"),
        ("sub-01_space-T1w_FLAIR.nii.gz", "FLAIR"),
        ("sub-01_ses-2_acq-flair_run-1_T2w.nii.gz", "T2w"),
        ("head_space-FLAIR_T1w.nii", "T1w"),
        ("sub-01_T2star.nii.gz", "other"),
        ("sub-01_acq-T2starw.nii", "other"),
        ("ax T2* gre", "other"),
        ("T2 star, then T1", "T1w"),
        ("t2_space_sag", "T2w"),
        ("FLAIR_to_T1w", "FLAIR"),
        ("sub-01_T2w_FLAIR.nii", "FLAIR"),
        ("T2 starting", "T2w"),
        ("T2w_to_T1w_T2w", "T2w"),
        ("T2w_to_T1w", "T2w"),
        ("T2_reg_to_T1", "T2w"),
        ("T2w_reg_T1w.nii", "T2w"),
        ("T1_in_T2_space", "T1w"),
        ("t2tot1", "T2w"),
        ("T1_to_FLAIR", "T1w"),
        ("FLAIRtoT1", "FLAIR"),
        ("photo_T1.nii", "T1w"),
        ("T2w_regtoT1map", "T2w"),
        ("t2_sag_5mm", "T2w"),
        ("T2Sag", "T2w"),
        ("t2s_gre", "other"),
        ("T2sw", "other"),
        ("t1map", "other"),
        ("T1_map_MOLLI", "other"),
        ("T1 mapping", "other"),
        ("sub-01_acq-mp2rage_T1map.nii.gz", "other"),
        ("T1rho", "other"),
        ("T1-rho_SL60", "other"),
        ("T2map.nii", "other"),
        ("t2star_map", "other"),
        ("R2star_T2w_echo1", "other"),
        ("ep2d_diff_t2_ADC", "other"),
        ("R2", "other"),
        ("sub-01_acq-adc_T1w.nii", "T1w"),
        ("T1_mprage_R2", "T1w"),
        ("t1_tirm_tra_dark-fluid", "T1w"),
        ("t2_tirm_tra_dark-fluid", "FLAIR"),
        ("T2 SPACE DARK FLUID SAG", "FLAIR"),
        ("MPRAGE_1mm.nii", "T1w"),
        ("sub-t21_dwi", "other"),
        ("scan12.nii", "other"),
    ],
)
def test_the_contrast_is_guessed_from_the_name(name: str, contrast: str) -> None:
    assert guess_contrast(name) == contrast


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("t1map", "a quantitative map"),
        ("T1_rho_SL60", "a quantitative map"),
        ("R2*.nii", "a quantitative map"),
        ("t2smap", "a quantitative map"),
        ("dwi_ADC", "a quantitative map"),
        ("ax T2* gre", "a T2*-weighted scan"),
        ("T2s", "a T2*-weighted scan"),
        ("T2 star, then T1", None),
        ("T2w_reg_to_T1map", None),
        ("scan_R2.nii", None),
        ("scan", None),
        ("cadc", None),
    ],
)
def test_a_name_may_tell_of_something_else_than_a_weighted_scan(name: str, kind: str | None) -> None:
    assert other_kind(name) == kind
