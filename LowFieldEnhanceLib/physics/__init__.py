"""The low-field forward model: spatial operator, noise, bias field, contrast, and simulation of low-field scans."""
