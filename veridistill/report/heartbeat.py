"""`progress.json` read by somebody else: the record, and whether its process is still at work."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any, Literal

FILE = "progress.json"
LATE_SECONDS = 30.0
"""Without a heartbeat for so long a run counts as stalled; one comes every second."""
STILL_SECONDS = 600.0
"""Nothing has moved for so long: worth a word, since one long reply of a slow model may take it."""

Life = Literal["running", "still", "stalled", "gone", "ended"]


def read(run_dir: Path) -> dict[str, Any] | None:
    """The run's `progress.json`; None when there is none that can be read, or one of an older version."""
    try:
        data = json.loads((run_dir / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(data, dict) and {"pid", "host", "updated_at", "moved_at"} <= data.keys()
    return data if known else None


def life(record: dict[str, Any], now: float | None = None) -> Life:
    """What has become of the process that wrote the record; `now`: seconds since the epoch.

    "gone": it ended without a word, most likely killed. "stalled": it is there, or on another machine, and gives no
    sign. "still": it gives signs, but no call, token or step has moved for ten minutes.
    """
    now = time.time() if now is None else now
    if record.get("ended"):
        return "ended"
    here = record.get("host") == socket.gethostname()
    if here and (record.get("born") is None or born(int(record["pid"])) != record["born"]):
        return "gone"
    if now - float(record["updated_at"]) > LATE_SECONDS:
        return "stalled"
    return "still" if now - float(record["moved_at"]) > STILL_SECONDS else "running"


def born(pid: int) -> int | None:
    """When a process of this machine started, in its clock's ticks since boot; None when there is none.

    With it a number that another process has got since is not taken for the same one.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0 if not Path("/proc/self/stat").exists() and _there(pid) else None
    state, *numbers = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(numbers[18])


def _there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
