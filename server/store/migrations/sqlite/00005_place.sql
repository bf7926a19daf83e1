-- The rows belong to the outpost of one namespace of one cluster: another one would see no pods of theirs, and end them.

-- +goose Up
CREATE TABLE IF NOT EXISTS outpost_place (
	one INTEGER NOT NULL DEFAULT 1 CHECK (one = 1),
	uid VARCHAR NOT NULL,
	namespace VARCHAR NOT NULL,
	PRIMARY KEY (one)
);
