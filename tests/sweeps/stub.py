"""Stands in for ``train.py fit`` in a sweep: writes what a run writes, at once.

``--x`` is the score it rises to, ``--latency`` its milliseconds. It fails for a negative ``x``, and waits while the
file named by ``--block`` names its run.
"""

import json
import os
import sys
import time
from pathlib import Path

settings = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
logger = json.loads(settings["trainer.logger"])[0]["init_args"]
folder = Path(logger["save_dir"], logger["name"], logger["version"])
folder.mkdir(parents=True)
(folder / "pid.partial").write_text(str(os.getpid()))
(folder / "pid.partial").rename(folder / "pid")
x, latency = float(settings["x"]), float(settings.get("latency", 3))
if x < 0:
    sys.exit("error: x is negative")
scores = [x / 3, x / 2, x]
for count in range(1, 4):
    lines = [f"{step},{score},{latency}" for step, score in enumerate(scores[:count])]
    text = "\n".join(["step,final/f1,latency/student/p50_ms/b1_s384", *lines]) + "\n"
    (folder / "metrics.partial").write_text(text)
    (folder / "metrics.partial").rename(folder / "metrics.csv")
    if count == 2:
        block = Path(settings.get("block", "nowhere"))
        while block.is_file() and block.read_text() in (folder.name, "all"):
            time.sleep(0.05)
side = {"scores": {"f1": x}, "latency_ms": {"p50": latency}}
teacher = {"scores": {"f1": 90.0}, "latency_ms": {"p50": 12.0}}
(folder / "report.json").write_text(json.dumps({"student": side, "teacher": teacher}))
