-- Whether a maintenance ends the servers that run.

-- +goose Up
ALTER TABLE outpost_maintenance ADD COLUMN IF NOT EXISTS evict BOOLEAN NOT NULL DEFAULT FALSE;
