-- Servers look every moment who has logged in by another one of late.
CREATE INDEX devices_connected_at ON devices (connected_at);
