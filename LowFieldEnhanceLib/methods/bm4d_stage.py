"""One stage of BM4D, as a program: started by bm4d.py, because a call of the package cannot be interrupted.

    python bm4d_stage.py SYS_PATH FOLDER NOISE

SYS_PATH is that of the parent, as JSON. FOLDER holds image.npy. Without basic.npy the basic estimate is written there,
with it the final one, final.npy. Nothing is ever written to the standard input; its end says that the parent is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading

NO_MEMORY = 3  # exit status


def main(path: str, folder: str, noise: str) -> None:
    """Do the next stage."""
    sys.path[:] = json.loads(path)  # first of all: beside this file lies another bm4d
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import numpy as np
    from bm4d import BM4DStages, bm4d

    os.chdir(folder)
    known = os.path.exists("basic.npy")
    pilot = np.load("basic.npy") if known else BM4DStages.HARD_THRESHOLDING
    try:
        result = bm4d(np.load("image.npy"), float(noise), stage_arg=pilot)
    except MemoryError:
        os._exit(NO_MEMORY)
    np.save("final.npy" if known else "basic.npy", result)


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
