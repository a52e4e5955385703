"""N4: the field on the fine grid is the fitted one, and a cancel does not wait for the fit."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
import SimpleITK

from LowFieldEnhanceLib.errors import Cancelled
from LowFieldEnhanceLib.events import Events
from LowFieldEnhanceLib.image import Image
from LowFieldEnhanceLib.image_io import read_image, to_sitk
from LowFieldEnhanceLib.preprocess.bias_correction import n4_bias_field
from LowFieldEnhanceLib.resources import resource


@pytest.fixture(scope="module")
def scan() -> tuple[Image, np.ndarray]:
    """The sample, oblique and with an odd number of voxels, and where it is bright."""
    image = read_image(resource("SampleData", "colin27_reference_T1w.nii.gz"))
    array = image.array[::2, ::2, ::2][:-1, :, :-1]
    affine = np.array([[1.9, 0.3, 0.0, -80], [-0.3, 1.9, 0.0, -90], [0, 0, 2, -70], [0, 0, 0, 1.0]])
    affine[:3, :3] = np.linalg.qr(affine[:3, :3])[0] * 2.0
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n) for n in array.shape), indexing="ij")
    return Image(array * np.exp(0.35 * i - 0.25 * j * k), affine, "T1w"), array > np.percentile(array, 60)


def test_the_field_is_the_fitted_spline_on_every_voxel(scan: tuple[Image, np.ndarray]) -> None:
    image, mask = scan
    found = n4_bias_field(image, mask, iterations=5)
    source = to_sitk(image)
    inside = to_sitk(image.with_array(mask.astype(np.float32)), np.uint8)
    factors = [max(1, min(4, n // 16)) for n in image.shape]
    corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([5] * 3)
    corrector.Execute(SimpleITK.Shrink(source, factors), SimpleITK.Shrink(inside, factors))
    expected = np.exp(SimpleITK.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(source)).transpose(2, 1, 0))
    expected /= expected[mask].mean()
    assert np.ptp(expected[mask]) > 0.3
    assert np.abs(found / expected - 1)[mask].max() < 0.01
    assert np.abs(found / expected - 1).max() < 0.1  # at the rim of the field of view it goes on as it ends


def test_a_cancel_ends_the_fit_after_the_iteration(scan: tuple[Image, np.ndarray]) -> None:
    class Counting(Events):
        checks = 0

        def check(self) -> None:
            self.checks += 1
            if self.checks == 3:
                self.cancel()
            super().check()

    events = Counting()
    with pytest.raises(Cancelled):
        n4_bias_field(*scan, iterations=1000, events=events)
    assert events.checks == 3


def test_an_interrupt_ends_the_fit_too(scan: tuple[Image, np.ndarray], capfd: pytest.CaptureFixture[str]) -> None:
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(100):  # however soon one fit ends
            n4_bias_field(*scan)
    timer.join()
    assert "Traceback" not in capfd.readouterr().err
