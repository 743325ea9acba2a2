"""The tables, against the columns that are written."""

import sqlite3

from support.job_samples import WEBHOOK, make_job
from whisper_router.jobs.rows import COLUMNS, job_of, values_of
from whisper_router.jobs.schema import SCHEMA


def test_a_job_fits_its_table_and_comes_back():
    """Also its webhook with headers and secret."""
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.executescript(SCHEMA)
    job = make_job("job_1", webhook=WEBHOOK, idempotency_key="once", options={"a": 1})
    places = ", ".join("?" * len(values_of(job)))
    database.execute(f"INSERT INTO jobs ({COLUMNS}) VALUES ({places})", values_of(job))
    [row] = database.execute("SELECT * FROM jobs").fetchall()
    assert job_of(row) == job
    database.close()
