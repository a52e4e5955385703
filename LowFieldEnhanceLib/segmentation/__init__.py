"""Segmentation: the label table and the network that assigns the labels."""
