"""Metrics and the anatomical report. Never imports ``methods``."""
