"""How busy a machine is with something else than what is measured."""

import time

import psutil


class OtherLoad:
    """Counts from its making on. What this process has started must go on until `cores`."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._others_s = _others_s()

    def cores(self) -> float:
        """Return how many cores were busy, on average, with other programs and other machines."""
        return (_others_s() - self._others_s) / (time.monotonic() - self._began_s)


def _others_s() -> float:
    """Return the busy time of all cores, time stolen by the hypervisor too, but for our own."""
    whole = psutil.cpu_times()._asdict()
    waiting = ("idle", "iowait", "guest", "guest_nice")  # user time holds that of guests
    busy_s = sum(seconds for name, seconds in whole.items() if name not in waiting)
    this = psutil.Process()
    family = [this, *this.children(recursive=True)]
    return busy_s - sum(sum(member.cpu_times()[:2]) for member in family)
