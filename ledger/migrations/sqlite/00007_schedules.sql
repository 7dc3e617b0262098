-- Recurring runs: what is to happen when, and what came of it. The same tables
-- stand in ../postgres.

-- +goose Up

CREATE TABLE schedules (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL,
    state      TEXT    NOT NULL,            -- active, paused, removed
    revision   INTEGER NOT NULL DEFAULT 1,  -- raised when the definition or the state changes
    spec       TEXT    NOT NULL,            -- schedule.yaml as it was given
    cron       TEXT    NOT NULL,
    zone       TEXT    NOT NULL,
    overlap    TEXT    NOT NULL,            -- wait, skip, run
    if_late    TEXT    NOT NULL,            -- run, skip
    late_limit INTEGER NOT NULL,            -- milliseconds
    catch_up   TEXT    NOT NULL,            -- latest, all
    tries      INTEGER NOT NULL,
    retry_wait INTEGER NOT NULL,            -- milliseconds
    alarm      TEXT    NOT NULL DEFAULT '', -- JSON of ledger.AlarmConfig; '': none
    cursor     TEXT    NOT NULL,            -- the last local time that was considered
    not_before INTEGER NOT NULL DEFAULT 0,  -- runs due before are skipped: a quarantine lay between
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    paused_at  INTEGER NOT NULL DEFAULT 0,
    removed_at INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX schedules_name ON schedules (name) WHERE state <> 'removed';

-- A run is known by its schedule and the local time that names it.
CREATE TABLE runs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule_id INTEGER NOT NULL,
    local_time  TEXT    NOT NULL,            -- 2026-10-04T02:00; of a run by hand with seconds
    manual      INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL,
    state       TEXT    NOT NULL,            -- due, running, done, nothing, skipped, failed
    reason      TEXT    NOT NULL DEFAULT '',
    tries       INTEGER NOT NULL DEFAULT 0,
    takeovers   INTEGER NOT NULL DEFAULT 0,
    next_try_at INTEGER NOT NULL DEFAULT 0,
    campaign_id INTEGER,
    lease_by    TEXT    NOT NULL DEFAULT '',
    lease_until INTEGER NOT NULL DEFAULT 0,
    fence       INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    started_at  INTEGER NOT NULL DEFAULT 0,
    ended_at    INTEGER NOT NULL DEFAULT 0,
    report      TEXT    NOT NULL DEFAULT '',
    UNIQUE (schedule_id, local_time)
);
CREATE INDEX runs_open ON runs (schedule_id, due_at) WHERE state IN ('due', 'running');

-- What somebody is to be told of a run, once for each event.
CREATE TABLE alarms (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id      INTEGER NOT NULL,
    event       TEXT    NOT NULL,            -- failed, skipped, paused, late, nothing
    reason      TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    state       TEXT    NOT NULL,            -- pending, sent, given up
    tries       INTEGER NOT NULL DEFAULT 0,
    next_try_at INTEGER NOT NULL DEFAULT 0,
    problem     TEXT    NOT NULL DEFAULT '',
    UNIQUE (run_id, event)
);
CREATE INDEX alarms_pending ON alarms (next_try_at) WHERE state = 'pending';
