-- The ledger: every list, contact, campaign, batch, recipient, attempt and
-- outcome. Times are unix milliseconds, money is millionths of the currency's
-- unit, keys are integers. The same tables stand in ../postgres; the
-- conformance suite runs against both.

-- +goose Up

-- One row. Its random id is part of every reference we hand to the provider,
-- so that another ledger's messages are never taken for ours.
CREATE TABLE ledger (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    id         TEXT    NOT NULL,
    created_at INTEGER NOT NULL
);
INSERT INTO ledger (one, id, created_at)
VALUES (1, substr(lower(hex(randomblob(8))), 1, 10), CAST(strftime('%s', 'now') AS INTEGER) * 1000);

-- Blocks of ids are taken from here inside the transaction that uses them.
CREATE TABLE ids (
    name TEXT PRIMARY KEY,
    next INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO ids (name, next) VALUES ('contact', 1), ('recipient', 1), ('batch', 1);

CREATE TABLE lists (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT UNIQUE,              -- NULL: the audience of one campaign, given as a file
    state       TEXT    NOT NULL,         -- importing, ready, retired
    source      TEXT    NOT NULL,         -- the file's base name
    columns     TEXT    NOT NULL DEFAULT '[]', -- JSON array: names of contacts.fields, in order
    digest      TEXT    NOT NULL DEFAULT '',   -- SHA-256 over the contacts in order
    identity    TEXT    NOT NULL DEFAULT '',   -- by what the import told duplicates: number, post, contact
    contacts    INTEGER NOT NULL DEFAULT 0,
    rows        INTEGER NOT NULL DEFAULT 0,
    duplicates  INTEGER NOT NULL DEFAULT 0,
    rejected    INTEGER NOT NULL DEFAULT 0,
    suppressed  INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER NOT NULL DEFAULT 0,    -- while importing: the importer lives
    created_at  INTEGER NOT NULL
);

-- Contacts never change; an update writes a new row and retires the old one.
CREATE TABLE contacts (
    id         INTEGER PRIMARY KEY,
    list_id    INTEGER NOT NULL,
    line       INTEGER NOT NULL,
    phone      TEXT    NOT NULL,
    data       TEXT NOT NULL  -- everything else, packed (see pack.go)
);
CREATE INDEX contacts_list ON contacts (list_id, id);

-- Nobody on it is sent to; asked at import, at planning and when a batch leaves.
CREATE TABLE opt_outs (
    phone      TEXT PRIMARY KEY,
    source     TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Files belong to the plan: exactly these bytes are uploaded when a batch leaves.
CREATE TABLE files (
    sha256     TEXT PRIMARY KEY,
    name       TEXT    NOT NULL,
    type       TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    content    BLOB,                -- NULL: in the configured folder, under its SHA-256
    created_at INTEGER NOT NULL
);

CREATE TABLE campaigns (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT    NOT NULL UNIQUE,
    channel        TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    reason         TEXT    NOT NULL DEFAULT '',
    list_id        INTEGER NOT NULL,
    content        TEXT    NOT NULL,             -- JSON of campaign.Content, as approved
    digest         TEXT    NOT NULL,             -- of audience, content and sender
    provider_url   TEXT    NOT NULL,             -- the only account this campaign speaks to
    provider_user  TEXT    NOT NULL,
    currency       TEXT    NOT NULL DEFAULT '',
    start_at       INTEGER NOT NULL DEFAULT 0,   -- 0: as soon as approved
    budget         INTEGER,                      -- NULL: no cap
    quoted         INTEGER NOT NULL DEFAULT 0,
    reserved       INTEGER NOT NULL DEFAULT 0,   -- of batches in flight or unknown
    spent          INTEGER NOT NULL DEFAULT 0,
    total          INTEGER NOT NULL DEFAULT 0,
    plan           TEXT    NOT NULL DEFAULT '',  -- JSON of campaign.PlanSummary
    answers        INTEGER NOT NULL DEFAULT 0,   -- of the first 1,000, for the refusal brake
    refusals       INTEGER NOT NULL DEFAULT 0,
    lease_until    INTEGER NOT NULL DEFAULT 0,   -- while a draft: the planner lives
    created_at     INTEGER NOT NULL,
    started_at     INTEGER NOT NULL DEFAULT 0,
    ended_at       INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX campaigns_digest ON campaigns (digest);
CREATE INDEX campaigns_open ON campaigns (state) WHERE state NOT IN ('completed', 'cancelled', 'failed');

-- Who did what, when and why.
CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    actor       TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    reason      TEXT    NOT NULL
);
CREATE INDEX events_campaign ON events (campaign_id, id);

CREATE TABLE quotes (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id   INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    basis         TEXT    NOT NULL,   -- exact: every message was priced; none: prices switched off
    total         INTEGER NOT NULL,
    currency      TEXT    NOT NULL,
    messages      INTEGER NOT NULL,
    parts         INTEGER NOT NULL,
    provider_user TEXT    NOT NULL
);
CREATE INDEX quotes_campaign ON quotes (campaign_id, id);

-- state: 0 ready, 1 in flight (an attempt is open), 2 settled (none pending).
-- The counters are recounted from recipients in every transaction that moves one.
CREATE TABLE batches (
    id            INTEGER PRIMARY KEY,
    campaign_id   INTEGER NOT NULL,
    channel       TEXT    NOT NULL,
    file_key      TEXT    NOT NULL,
    state         INTEGER NOT NULL,
    due_at        INTEGER NOT NULL,
    dispatch      INTEGER NOT NULL DEFAULT 0,
    dispatched_at INTEGER NOT NULL DEFAULT 0,  -- 0: not with the queue
    fence         INTEGER NOT NULL DEFAULT 0,
    lease_by      TEXT    NOT NULL DEFAULT '',
    lease_until   INTEGER NOT NULL DEFAULT 0,
    attempts      INTEGER NOT NULL DEFAULT 0,
    quoted        INTEGER NOT NULL DEFAULT 0,
    first_id      INTEGER NOT NULL,  -- its recipients lie from here
    last_id       INTEGER NOT NULL,  -- to here, perhaps among others
    pending       INTEGER NOT NULL DEFAULT 0,
    unknown       INTEGER NOT NULL DEFAULT 0,
    accepted      INTEGER NOT NULL DEFAULT 0,
    delivered     INTEGER NOT NULL DEFAULT 0,
    undelivered   INTEGER NOT NULL DEFAULT 0,
    rejected      INTEGER NOT NULL DEFAULT 0,
    suppressed    INTEGER NOT NULL DEFAULT 0,
    cancelled     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX batches_campaign ON batches (campaign_id, id);
CREATE INDEX batches_open ON batches (campaign_id) WHERE state <> 2 OR unknown > 0;
CREATE INDEX batches_ready ON batches (channel, campaign_id, id) WHERE state = 0;

CREATE TABLE recipients (
    id          INTEGER PRIMARY KEY,
    batch_id    INTEGER NOT NULL,
    contact_id  INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    quoted      INTEGER NOT NULL DEFAULT 0,
    reason      TEXT
);

-- state: 0 open, 1 answered, 2 not sent, 3 unknown, 4 refused as a whole
CREATE TABLE attempts (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign_id   INTEGER NOT NULL,
    batch_id      INTEGER NOT NULL,
    channel       TEXT    NOT NULL,
    number        INTEGER NOT NULL,
    fence         INTEGER NOT NULL,
    worker        TEXT    NOT NULL,
    provider_url  TEXT    NOT NULL,
    provider_user TEXT    NOT NULL,
    state         INTEGER NOT NULL,
    size          INTEGER NOT NULL,
    members       BLOB    NOT NULL,   -- recipient ids, as runs
    reserved      INTEGER NOT NULL,
    started_at    INTEGER NOT NULL,
    deadline      INTEGER NOT NULL,
    closed_at     INTEGER NOT NULL DEFAULT 0,
    note          TEXT    NOT NULL DEFAULT '',
    UNIQUE (batch_id, number)
);
CREATE INDEX attempts_open ON attempts (campaign_id, state) WHERE state IN (0, 3);

-- What the provider said of a recipient; several to a recipient over time.
-- evidence: 1 answer, 2 history, 3 receipt, 4 operator
CREATE TABLE messages (
    recipient_id INTEGER NOT NULL,
    attempt_id   INTEGER NOT NULL,
    provider_id  TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    price        INTEGER NOT NULL,
    parts        INTEGER NOT NULL,
    evidence     INTEGER NOT NULL,
    PRIMARY KEY (recipient_id, attempt_id)
) WITHOUT ROWID;

-- The brake after unknown attempts, per account and channel.
CREATE TABLE channels (
    provider_url   TEXT    NOT NULL,
    provider_user  TEXT    NOT NULL,
    channel        TEXT    NOT NULL,
    unknown_streak INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (provider_url, provider_user, channel)
) WITHOUT ROWID;
