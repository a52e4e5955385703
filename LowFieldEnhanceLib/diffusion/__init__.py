"""Diffusion: noise schedules, denoisers D(x, sigma) and samplers as pure functions."""
