"""Preparing a scan for the networks, and the way back."""
