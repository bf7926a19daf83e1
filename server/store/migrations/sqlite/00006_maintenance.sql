-- When the outpost starts no servers, and what users read then: for all processes, until somebody says otherwise.

-- +goose Up
CREATE TABLE IF NOT EXISTS outpost_maintenance (
	one INTEGER NOT NULL DEFAULT 1 CHECK (one = 1),
	begins DATETIME NOT NULL,
	ends DATETIME,
	text VARCHAR NOT NULL,
	PRIMARY KEY (one)
);
