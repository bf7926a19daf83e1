-- When the last backup was made; which restore the rows come from, which processes that were there before it must not
-- touch; and which migration a program must know at least to use the tables: 0 as long as nothing was taken away.

-- +goose Up
CREATE TABLE IF NOT EXISTS outpost_backup (
	one INTEGER NOT NULL DEFAULT 1 CHECK (one = 1),
	made TIMESTAMP WITH TIME ZONE NOT NULL,
	PRIMARY KEY (one)
);

CREATE TABLE IF NOT EXISTS outpost_restore (
	one INTEGER NOT NULL DEFAULT 1 CHECK (one = 1),
	id VARCHAR NOT NULL,
	made TIMESTAMP WITH TIME ZONE NOT NULL,
	restored TIMESTAMP WITH TIME ZONE NOT NULL,
	PRIMARY KEY (one)
);

CREATE TABLE IF NOT EXISTS outpost_schema_needs (
	one INTEGER NOT NULL DEFAULT 1 CHECK (one = 1),
	version INTEGER NOT NULL,
	PRIMARY KEY (one)
);

INSERT INTO outpost_schema_needs (version) VALUES (0) ON CONFLICT DO NOTHING;
