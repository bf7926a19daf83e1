-- Services are looked up by hub, name and start id. Not unique: the Python outpost may have written a key twice, and
-- would fail where it now goes on if an operator goes back to it.

-- +goose Up
CREATE INDEX IF NOT EXISTS outpost_service_key ON service (jupyterhub_username, name, start_id);
