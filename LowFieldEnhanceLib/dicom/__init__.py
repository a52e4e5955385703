"""Results as DICOM: the enhanced volume as a derived MR series, the labels as a DICOM segmentation,
their volumes as a structured report.

Needs pydicom, and highdicom for the latter two (``pip install 'lowfield-enhance[dicom]'``); both are imported when
something is written, never before. ``series.write_series`` and ``segmentation.write_segmentation`` write one kind,
``command.write_dicom`` a whole run.
"""
