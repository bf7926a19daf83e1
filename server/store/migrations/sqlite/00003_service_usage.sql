-- The quota check of every start counts all services. Read from this index it does not touch the rows, whose sealed columns
-- are kilobytes each.

-- +goose Up
CREATE INDEX IF NOT EXISTS outpost_service_usage ON service (jupyterhub_username, flavor, jupyterhub_user_id, stop_pending);
