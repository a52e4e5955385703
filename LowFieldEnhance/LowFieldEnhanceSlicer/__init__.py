"""The scene layer of LowFieldEnhance: the only code of the project that imports slicer and vtk.

It turns what the library computes (``Image``, ``LabelMap``, report rows) into nodes of a MRML scene. It runs inside
3D Slicer and, on the ``slicer-core`` wheel, without any application: ``python -m LowFieldEnhanceSlicer --help``.
The library (``LowFieldEnhanceLib``) never imports this package.
"""
