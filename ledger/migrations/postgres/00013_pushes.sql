-- Which of the provider's lists a list was copied to, so that the same push goes
-- on where it was interrupted instead of beginning again. The same table stands
-- in ../sqlite.

-- +goose Up

CREATE TABLE pushes (
    list_name     TEXT COLLATE "C" NOT NULL, -- a list has another id with every change
    provider_url  TEXT    NOT NULL,
    provider_user TEXT    NOT NULL,
    remote_name   TEXT    NOT NULL,
    remote_id     BIGINT  NOT NULL DEFAULT 0, -- 0: the provider was asked to make it, and has not said that it did
    created_at    BIGINT  NOT NULL,
    PRIMARY KEY (list_name, provider_url, provider_user, remote_name)
);
