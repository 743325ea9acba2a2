"""What is done about a chunk whose time is over."""

from collections.abc import Mapping, Sequence

from whisper_router.supervisor.lease import Lease
from whisper_router.supervisor.slot import Slot
from whisper_router.supervisor.workers import end_worker

Holders = Mapping[int, Lease]
"""Which lease each worker has last said to work for, by the worker's pid."""


async def kill_worker(
    slots: Sequence[Slot], holders: Holders, lease: Lease, pid: int, *, grace_s: float
) -> bool:
    """End the worker that runs a lease's chunk for too long.

    The process goes on with its other workers, unless it *is* the worker: then it is ended
    and the next lease starts another. False when `pid` is none of ours, or has let go of the
    chunk and works for another lease. (One that has not told yet is ended: the other chunk is
    interrupted and runs again.)
    """
    for slot in slots:
        for row in await slot.process.family():
            if row.pid != pid:
                continue
            if pid == slot.process.pid:
                slot.process.discard("it overran its time")
            elif holders.get(pid, lease) is lease:
                await end_worker(row, grace_s=grace_s)
            else:
                return False
            return True
    return False


def distrust(slots: Sequence[Slot], holders: Holders, lease: Lease, reason: str) -> None:
    """End the process of a chunk whose time is over, and of which no worker is known.

    A worker that has told of another lease's chunk may just be busy with it, and spares the
    process until nothing is leased: one of its workers may be lost.
    """
    at_work = {of.pid for of in holders.values() if of is not lease}
    for slot in slots:
        if lease.pid is None or slot.process.pid != lease.pid:
            continue
        if lease.pid in at_work:
            slot.leave()
        else:
            slot.process.discard(reason)
