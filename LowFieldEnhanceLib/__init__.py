"""LowFieldEnhanceLib: low-field MRI enhancement by diffusion models, with a report on how far to trust it.

Importing this package pulls in neither torch nor Slicer; each part imports what it needs.
"""

__version__ = "0.1.0"
