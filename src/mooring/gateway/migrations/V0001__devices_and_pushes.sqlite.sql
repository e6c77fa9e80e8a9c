-- Devices by name. SQLite compares text byte for byte unless told otherwise.
CREATE TABLE devices (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    token_hash   BLOB,
    created_at   TEXT    NOT NULL,
    connected_at TEXT,
    last_seen_at TEXT
);

-- What they pushed; times are UTC as YYYY-MM-DD HH:MM:SS.mmm, which sorts as it should.
CREATE TABLE pushes (
    device_id   INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    at          TEXT    NOT NULL,
    received_at TEXT    NOT NULL,
    data        TEXT    NOT NULL,
    PRIMARY KEY (device_id, seq)
);

CREATE INDEX pushes_device_at ON pushes (device_id, at);

CREATE INDEX pushes_received_at ON pushes (received_at);
