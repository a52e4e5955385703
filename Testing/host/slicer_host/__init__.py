"""The parts of the Slicer application that slicer-core leaves out, on PySide6: a strict subset of Slicer's own names.

``slicer_application.slicerApplication`` mounts them; nothing here is imported by the module under test by this name.
"""
