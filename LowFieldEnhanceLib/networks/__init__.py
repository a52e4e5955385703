"""Networks: plain ``torch.nn`` modules that know tensors only, never files or geometry."""
