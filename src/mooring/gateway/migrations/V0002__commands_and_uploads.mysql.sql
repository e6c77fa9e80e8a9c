-- What devices shall do. Open ones have no done_at; ids ascend and are never used twice.
CREATE TABLE commands (
    id         BIGINT      NOT NULL AUTO_INCREMENT,
    device_id  BIGINT      NOT NULL,
    data       MEDIUMTEXT  NOT NULL,
    created_at DATETIME(3) NOT NULL,
    expires_at DATETIME(3) NULL,
    sent_at    DATETIME(3) NULL,
    done_at    DATETIME(3) NULL,
    result     MEDIUMTEXT  NULL,
    error      TEXT        NULL,
    PRIMARY KEY (id),
    KEY commands_device (device_id, done_at, id),
    KEY commands_done (done_at, expires_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What devices send in blocks. `received` bytes are there, in one piece from the beginning.
CREATE TABLE uploads (
    id         BIGINT         NOT NULL AUTO_INCREMENT,
    device_id  BIGINT         NOT NULL,
    name       VARBINARY(256) NOT NULL,
    sha256     CHAR(64)       NOT NULL,
    total      BIGINT         NOT NULL,
    received   BIGINT         NOT NULL,
    created_at DATETIME(3)    NOT NULL,
    changed_at DATETIME(3)    NOT NULL,
    stored_at  DATETIME(3)    NULL,
    PRIMARY KEY (id),
    UNIQUE KEY uploads_name (device_id, name, sha256),
    KEY uploads_stored (stored_at, changed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE upload_blocks (
    upload_id    BIGINT     NOT NULL,
    block_offset BIGINT     NOT NULL,
    data         MEDIUMBLOB NOT NULL,
    PRIMARY KEY (upload_id, block_offset)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
