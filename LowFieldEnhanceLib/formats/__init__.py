"""What the headers of each file format say of a volume, and whether it can be true."""
