-- Which pods are this outpost's is told by a random id of its database: whoever has the rows may end the servers.

-- +goose Up
CREATE TABLE IF NOT EXISTS outpost_installation (
	one INTEGER NOT NULL DEFAULT 1 CHECK (one = 1),
	id VARCHAR NOT NULL,
	PRIMARY KEY (one)
);

INSERT INTO outpost_installation (id) VALUES (replace(gen_random_uuid()::text, '-', '')) ON CONFLICT DO NOTHING;
