"""The tables of the SQLite store, and how those of older versions become these."""

from collections.abc import Mapping

VERSION = 2
SCHEMA = """
CREATE TABLE jobs (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  status TEXT NOT NULL,
  request TEXT NOT NULL,
  audio TEXT NOT NULL,
  options TEXT NOT NULL,
  webhook TEXT,
  idempotency_key TEXT,
  created_s REAL NOT NULL,
  started_s REAL,
  ended_s REAL,
  duration_s REAL,
  error TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  not_before_s REAL,
  percent REAL NOT NULL DEFAULT 0,
  keep_alive_s REAL,
  fingerprint TEXT,
  is_elsewhere INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX jobs_once ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_by_status ON jobs (status, number);
CREATE INDEX jobs_by_owner ON jobs (owner, number);
CREATE INDEX jobs_by_end ON jobs (ended_s) WHERE ended_s IS NOT NULL;
CREATE INDEX jobs_to_fetch ON jobs (number) WHERE is_elsewhere;
CREATE TABLE transcripts (
  job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
  body TEXT NOT NULL
);
CREATE TABLE chunks (
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  start INTEGER NOT NULL,
  "end" INTEGER NOT NULL,
  events TEXT NOT NULL,
  PRIMARY KEY (job, start, "end")
) WITHOUT ROWID;
CREATE TABLE deliveries (
  id TEXT PRIMARY KEY,
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  webhook TEXT NOT NULL,
  body TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_s REAL,
  delivered_s REAL,
  log TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX deliveries_due ON deliveries (next_s) WHERE next_s IS NOT NULL;
CREATE INDEX deliveries_by_job ON deliveries (job);
"""
UPGRADES: Mapping[int, str] = {
    1: """
ALTER TABLE jobs ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN not_before_s REAL;
ALTER TABLE jobs ADD COLUMN percent REAL NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN keep_alive_s REAL;
ALTER TABLE jobs ADD COLUMN fingerprint TEXT;
ALTER TABLE jobs ADD COLUMN is_elsewhere INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET percent = 100 WHERE status = 'completed';
UPDATE jobs SET is_elsewhere = 1 WHERE status IN ('queued', 'running') AND
  CASE WHEN json_valid(audio) THEN json_extract(audio, '$.path') IS NULL
    AND json_extract(audio, '$.url') IS NOT NULL ELSE 0 END;
CREATE INDEX jobs_to_fetch ON jobs (number) WHERE is_elsewhere;
""",
}
"""What makes the next version of each older one."""
PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # what was answered is still there after the power failed
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # erased text is overwritten
    f"PRAGMA journal_size_limit = {4 << 20}",  # what a long result has made of the log is freed
)


def script_from(version: int) -> str:
    """Return what makes a file of an older version, or a new one (0), one of this version."""
    steps = [SCHEMA] if version == 0 else [UPGRADES[old] for old in range(version, VERSION)]
    return f"BEGIN; {' '.join(steps)} PRAGMA user_version = {VERSION}; COMMIT;"
