-- When a home was last used, for those who remove what nobody uses.

-- +goose Up
CREATE TABLE IF NOT EXISTS outpost_home (
	namespace VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	used TIMESTAMPTZ NOT NULL,
	PRIMARY KEY (namespace, name)
);
