-- The tables of the Python outpost 2.3.0, as its SQLAlchemy creates them. A database that it made is taken as it is.

-- +goose Up
CREATE TABLE IF NOT EXISTS jupyterhub (
	name VARCHAR NOT NULL,
	PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS service (
	id INTEGER NOT NULL,
	name VARCHAR,
	start_id VARCHAR,
	jupyterhub_username VARCHAR NOT NULL,
	last_update DATETIME,
	start_date DATETIME,
	end_date DATETIME,
	state_stored BOOLEAN,
	start_pending BOOLEAN,
	stop_pending BOOLEAN,
	body BLOB,
	state BLOB,
	start_response BLOB,
	jupyterhub_user_id INTEGER,
	flavor VARCHAR,
	PRIMARY KEY (id),
	FOREIGN KEY(jupyterhub_username) REFERENCES jupyterhub (name)
);
