"""N4 bias-field correction (Tustison et al. 2010) through SimpleITK, on a shrunken copy for speed."""

from __future__ import annotations

import numpy as np
import SimpleITK

from ..events import Events
from ..image import Image
from ..image_io import from_sitk, to_sitk
from .grid import Grid, resample


class _StopWhenCancelled(SimpleITK.Command):
    """Ends a filter of ITK after any of its iterations: N4 takes no notice of Abort, but of a command that fails."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events
        self.reason: BaseException | None = None

    def Execute(self) -> None:  # noqa: N802 - ITK's name
        try:
            self._events.check()
        except BaseException as error:
            self.reason = error  # SimpleITK makes a RuntimeError of it
            raise


def n4_bias_field(
    image: Image, mask: np.ndarray, shrink: int = 4, iterations: int = 30, events: Events | None = None
) -> np.ndarray:
    """The multiplicative bias field of an image.

    Args:
        image: any intensity unit, non-negative.
        mask: bool, where the tissue is (same shape).
        shrink: factor of the shrunken copy that the field is fitted on.
        iterations: at each of three levels.
        events: cancel.

    Returns:
        float32 field of the image's shape, mean 1 inside the mask; ``image / field`` is corrected.

    Raises:
        Cancelled: through ``events``.
    """
    source = to_sitk(image)
    inside = to_sitk(image.with_array(mask.astype(np.float32)), np.uint8)
    factors = [max(1, min(shrink, n // 16)) for n in image.shape]
    small = SimpleITK.Shrink(source, factors)
    corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([iterations] * 3)
    watch = _StopWhenCancelled(events or Events())
    corrector.AddCommand(SimpleITK.sitkIterationEvent, watch)
    try:
        corrector.Execute(small, SimpleITK.Shrink(inside, factors))
    except RuntimeError as error:
        if watch.reason is not None:
            raise watch.reason from None
        if "Command.Execute" in str(error):  # Ctrl-C on the way into the command
            raise KeyboardInterrupt from None
        raise
    field = np.exp(_enlarged(from_sitk(corrector.GetLogBiasFieldAsImage(small)), Grid.of(image)))
    return field / max(float(field[mask].mean()), 1e-6)


def _enlarged(small: Image, grid: Grid) -> np.ndarray:
    """A smooth map on a finer grid (cubic); it goes on as it ends where the coarse voxels do not reach."""
    affine = small.affine.copy()
    affine[:3, 3] -= affine[:3, :3].sum(axis=1)
    return resample(Image(np.pad(small.array, 1, mode="edge"), affine), grid, "cubic").array
