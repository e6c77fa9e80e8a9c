"""What the database takes: one PyMySQL connection, INSERTs of 500 rows: ``python ingest_driver.py URL SECONDS``.

No server and no devices: rows that are there already are stored. Prints rows per second.
"""

from __future__ import annotations

import sys
import time
from urllib.parse import urlsplit

import pymysql

SQL = "INSERT INTO pushes (device_id, seq, at, received_at, data) VALUES (%s, %s, %s, %s, %s)"
DATA = '{"temperature":21.53,"humidity":40.2,"battery":3.71,"status":"ok"}'
ROWS = 500
DEVICES = 64


def main(url: str, seconds: float) -> None:
    """Insert for so long."""
    parts = urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.path[1:],
        autocommit=True,
        ssl_disabled=True,
    )
    begin, stored = time.perf_counter(), 0
    with connection, connection.cursor() as cursor:
        while (passed := time.perf_counter() - begin) < seconds:
            numbers = sorted((1 + n % DEVICES, 1 + n // DEVICES) for n in range(stored, stored + ROWS))
            now = f"{time.strftime('%F %T', time.gmtime())}.{int(time.time() * 1000) % 1000:03d}"
            cursor.executemany(SQL, [(device, seq, now, now, DATA) for device, seq in numbers])
            stored += ROWS
    print(stored / passed)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
