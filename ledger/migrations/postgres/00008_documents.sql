-- What a stored file was found to be when it was checked.
-- The same columns stand in ../sqlite.

-- +goose Up

ALTER TABLE files ADD COLUMN pages INTEGER NOT NULL DEFAULT 0;      -- of a PDF; 0: not known
ALTER TABLE files ADD COLUMN page_size TEXT NOT NULL DEFAULT '';   -- of all its pages: A4, A5, or width and height; '' where they differ or are not known
