"""How an alias's processes are supervised."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionOptions:
    """What the configuration decides for one alias. `idle_unload_s` None: never unloaded.

    `start_silence_s` is how long a start may show no sign of progress, `start_limit_s` how long
    it may take at all; `stop_grace_s` passes between SIGTERM and SIGKILL, `worker_grace_s` where
    a hang is the reason; `longest_pause_s` is the most that passes between two starts that fail;
    `queue_limit` is how many may wait for a worker before more are refused; `max_requests` chunks,
    or memory grown by `max_rss_growth_bytes`, make a process due for recycling once it has rested
    for `recycle_idle_s`; memory is measured every `measure_every_s` of use.
    """

    start_silence_s: float
    start_limit_s: float
    stop_grace_s: float
    idle_unload_s: float | None
    longest_pause_s: float = 60.0
    queue_limit: int = 1000
    probe_timeout_s: float = 2.0
    worker_grace_s: float = 0.2
    max_requests: int | None = None
    max_rss_growth_bytes: int | None = None
    recycle_idle_s: float = 1.0
    measure_every_s: float = 5.0
