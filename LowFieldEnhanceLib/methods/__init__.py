"""Enhancement methods. ``registry.py`` lists them; a new method is one file here and one line there."""
