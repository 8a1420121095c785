"""Stands in for `pbrl`: python program.py RESULT train ENV --agent NAME --out FOLDER ..."""

# ruff: noqa: T201
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

words = sys.argv[2:]
agent, out = words[words.index("--agent") + 1], Path(words[words.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
lock = (out / ".lock").open("w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit("another process is writing this run")
print("threads", os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"], flush=True)
print("resumed" if "--resume" in words else "new", flush=True)


def stop(number, frame):
    print("checkpoint", flush=True)
    sys.exit(130)


signal.signal(signal.SIGTERM, stop)
(out / "metrics.csv").write_text("step,x\n7,1\n8")
(out / "pid").write_text(str(os.getpid()))
(out / "config.json").write_text("{}")
if agent == "fails":
    sys.exit("it broke")
if agent == "dies" or (agent == "dies-once" and "--resume" not in words):
    os.kill(os.getpid(), signal.SIGKILL)
if agent == "waits" and "--resume" not in words:
    time.sleep(60)
while agent == "waits-for-go" and not (out.parent / "go").exists():
    time.sleep(0.05)
(out / "result.json").write_text(Path(sys.argv[1]).read_text())
