-- Devices by name. Names are bytes (UTF-8), so that they are compared byte for byte: 64 characters, 256 bytes.
CREATE TABLE devices (
    id           BIGINT         NOT NULL AUTO_INCREMENT,
    name         VARBINARY(256) NOT NULL,
    token_hash   BINARY(32)     NULL,
    created_at   DATETIME(3)    NOT NULL,
    connected_at DATETIME(3)    NULL,
    last_seen_at DATETIME(3)    NULL,
    PRIMARY KEY (id),
    UNIQUE KEY devices_name (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What they pushed. `data` is the text that came, byte for byte: the JSON type would rewrite it.
CREATE TABLE pushes (
    device_id   BIGINT      NOT NULL,
    seq         BIGINT      NOT NULL,
    at          DATETIME(3) NOT NULL,
    received_at DATETIME(3) NOT NULL,
    data        MEDIUMTEXT  NOT NULL,
    PRIMARY KEY (device_id, seq),
    KEY pushes_device_at (device_id, at),
    KEY pushes_received_at (received_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
