-- What devices shall do. Open ones have no done_at; AUTOINCREMENT, so that no id is ever used twice.
CREATE TABLE commands (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id  INTEGER NOT NULL,
    data       TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    expires_at TEXT,
    sent_at    TEXT,
    done_at    TEXT,
    result     TEXT,
    error      TEXT
);

CREATE INDEX commands_device ON commands (device_id, done_at, id);

CREATE INDEX commands_done ON commands (done_at, expires_at);

-- What devices send in blocks. `received` bytes are there, in one piece from the beginning.
CREATE TABLE uploads (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id  INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    sha256     TEXT    NOT NULL,
    total      INTEGER NOT NULL,
    received   INTEGER NOT NULL,
    created_at TEXT    NOT NULL,
    changed_at TEXT    NOT NULL,
    stored_at  TEXT,
    UNIQUE (device_id, name, sha256)
);

CREATE INDEX uploads_stored ON uploads (stored_at, changed_at);

CREATE TABLE upload_blocks (
    upload_id    INTEGER NOT NULL,
    block_offset INTEGER NOT NULL,
    data         BLOB    NOT NULL,
    PRIMARY KEY (upload_id, block_offset)
);
