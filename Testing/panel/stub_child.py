"""Stands in for the library's command line: says what the real one says, and copies results that were prepared.

STUB_MODE says how it ends: finish, slow (waits to be cancelled, with a worker of its own), late (the same, when all is
written), memory, bad or crash. STUB_DEVICE is where it says that it works; --device cpu goes before it.
STUB_RESULTS is the folder of the prepared results, STUB_COMPARISON that of a prepared comparison. STUB_RECORD, if set,
is a file to which it appends its arguments and the folder that it works in; STUB_DICOM, if set, lets it leave an empty
file where DICOM files go.
"""

import json
import os
import shutil
import subprocess
import sys
import time

STAGES = ("read", "segment the input", "enhance", "check fidelity", "segment the result", "report")
ENDS = {
    "memory": ("OutOfMemory", "the graphics card ran out of memory even with the smallest window", 4),
    "bad": ("BadInput", "12 voxels are NaN or infinite, so the scan is damaged", 2),
}


def say(**event):
    print(json.dumps(event), flush=True)


def option(name):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


def sayMethod(path):
    """In the report that was prepared: the method and the preset of this run."""
    with open(path, encoding="utf-8") as stream:
        report = json.load(stream)
    report.get("provenance", {}).update(method=option("--method"), preset=option("--preset"))
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(report, stream)


def main():
    mode = os.environ.get("STUB_MODE", "finish")
    if "STUB_RECORD" in os.environ:
        with open(os.environ["STUB_RECORD"], "a", encoding="utf-8") as stream:
            print(json.dumps([sys.argv[1:], os.getcwd()]), file=stream)
    if mode == "memory" and option("--device") == "cpu":
        mode = "finish"
    if not os.path.isfile(sys.argv[2]):
        say(event="error", kind="BadInput", message="the input does not exist")
        return 2
    say(event="warning", message="the noise is higher than in the training data")
    device = "cpu" if option("--device") == "cpu" else os.environ.get("STUB_DEVICE", "cuda")
    for stage in STAGES:
        say(event="progress", stage=stage, done=0, total=2, **({"device": device} if stage == "read" else {}))
        print(f"working on: {stage}", file=sys.stderr, flush=True)
        if stage == "enhance":
            say(event="progress", stage=stage, done=1, total=2, eta_s=3.0)
            if mode in ENDS:
                kind, message, code = ENDS[mode]
                print("Traceback: what an expert wants to see", file=sys.stderr, flush=True)
                say(event="error", kind=kind, message=message)
                return code
            if mode == "crash":
                os.abort()
            if mode == "slow":
                worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
                say(event="warning", message=f"worker {worker.pid}")
                worker.wait()
        time.sleep(float(os.environ.get("STUB_SECONDS", "0")) / len(STAGES))
    if sys.argv[1] == "compare":
        shutil.copytree(os.environ["STUB_COMPARISON"], option("-o"))
        say(event="result", compared=1, not_run="bm4d:fast")
        return 0
    names = {"-o": "enhanced.nrrd", "--segmentation": "segmentation.nrrd", "--fidelity": "fidelity.nrrd",
             "--uncertainty": "uncertainty.nrrd", "--added-detail": "added_detail.nrrd", "--report": "report.html",
             "--report-json": "report.json"}  # fmt: skip
    for name, file in names.items():
        if option(name):
            shutil.copy(os.path.join(os.environ["STUB_RESULTS"], file), option(name))
    sayMethod(option("--report-json"))
    if option("--dicom") and "STUB_DICOM" in os.environ:
        os.makedirs(option("--dicom"))
        with open(os.path.join(option("--dicom"), "stand-in.dcm"), "wb"):
            pass
    if mode == "late":
        time.sleep(120)
    say(event="result", output=option("-o"), verdict="Structure volumes changed by 2.0 % on average.")
    return 0


sys.exit(main())
