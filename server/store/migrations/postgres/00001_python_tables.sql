-- The tables of the Python outpost 2.3.0, as its SQLAlchemy creates them. A database that it made is taken as it is.

-- +goose Up
CREATE TABLE IF NOT EXISTS jupyterhub (
	name VARCHAR NOT NULL,
	PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS service (
	id SERIAL NOT NULL,
	name VARCHAR,
	start_id VARCHAR,
	jupyterhub_username VARCHAR NOT NULL,
	last_update TIMESTAMP WITH TIME ZONE,
	start_date TIMESTAMP WITH TIME ZONE,
	end_date TIMESTAMP WITH TIME ZONE,
	state_stored BOOLEAN,
	start_pending BOOLEAN,
	stop_pending BOOLEAN,
	body BYTEA,
	state BYTEA,
	start_response BYTEA,
	jupyterhub_user_id INTEGER,
	flavor VARCHAR,
	PRIMARY KEY (id),
	FOREIGN KEY(jupyterhub_username) REFERENCES jupyterhub (name)
);

-- Older releases of the Python outpost lack this column; its entry script adds it the same way.
ALTER TABLE service ADD COLUMN IF NOT EXISTS jupyterhub_user_id INTEGER DEFAULT 0;
