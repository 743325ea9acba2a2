"""How an alias's processes are supervised."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionOptions:
    """What the configuration decides for one alias. `idle_unload_s` None: never unloaded.

    `start_silence_s` is how long a start may show no sign of progress, `start_limit_s` how long
    it may take at all; `stop_grace_s` passes between SIGTERM and SIGKILL, `worker_grace_s` where
    a hang is the reason; `longest_pause_s` is the most that passes between two starts that fail;
    `queue_limit` is how many may wait for a worker before more are refused.
    """

    start_silence_s: float
    start_limit_s: float
    stop_grace_s: float
    idle_unload_s: float | None
    longest_pause_s: float = 60.0
    queue_limit: int = 1000
    probe_timeout_s: float = 2.0
    worker_grace_s: float = 0.2
