"""Deliveries in a file that is damaged; what every store does: test_store.py."""

from support.job_samples import WEBHOOK, make_job
from whisper_router.jobs.model import Delivery, JobStatus
from whisper_router.jobs.sqlite import open_store


async def test_a_delivery_that_cannot_be_read_holds_up_no_other(tmp_path):
    """It is given up."""
    async with open_store(tmp_path / "jobs.db") as store:
        for number in range(2):
            job_id = f"job_{number}"
            await store.add(make_job(job_id))
            delivery = Delivery(
                id=f"msg_{number}", job_id=job_id, webhook=WEBHOOK, body="{}", next_s=1.0
            )
            await store.finish(job_id, JobStatus.CANCELLED, now_s=1.0, delivery=delivery)
        await store._database.write("UPDATE deliveries SET webhook = '{' WHERE id = 'msg_0'")
        assert [item.id for item in await store.due(now_s=2.0, limit=9)] == ["msg_1"]
        await store.tried("msg_1", entry={"status": 200}, next_s=None, delivered_s=2.0)
        assert await store.next_due_s() is None
