"""``mooring uploads``: what devices have sent in blocks, listed and saved."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from ..gateway.store import Store
from ..gateway.tables.uploads import UploadRow
from .databases import opened_store, url_option
from .exits import Failed
from .logs import set_up_logging
from .tables import json_option, print_json, print_table


@click.group
def uploads() -> None:
    """List what devices have sent in blocks, and save it to files."""
    set_up_logging("error")


@uploads.command(name="list")
@click.argument("device", required=False)
@url_option
@json_option
def list_uploads(device: str | None, url: str, as_json: bool) -> None:
    """List all uploads, or those of DEVICE, complete or still growing; times are UTC."""
    with opened_store(url) as store:
        if device is not None:
            _refuse_unknown(store, device)
        if as_json:
            for row in store.uploads.rows(device):
                print_json(asdict(row))
        else:
            titles = ("DEVICE", "NAME", "BYTES", "RECEIVED", "BEGAN", "STORED", "SHA256")
            print_table(titles, _cells(store.uploads.rows(device)))


@uploads.command
@click.argument("device")
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to.  [default: a file called NAME in this folder]",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@url_option
@json_option
def save(device: str, name: str, output: Path | None, force: bool, url: str, as_json: bool) -> None:
    """Save the upload NAME of DEVICE; of several with this name the one that was completed last.

    The file appears when it is whole and its sha256 is right, or not at all.
    """
    path = output or Path(name)
    if output is None and (path.name != name or name in (".", "..")):
        raise click.BadParameter("this name is no name of a file; say where to with --output", param_hint="NAME")
    if path.exists() and not force:
        raise Failed(f"{path} is there already; --force replaces it")
    with opened_store(url) as store:
        _refuse_unknown(store, device)
        try:
            row = store.uploads.newest(device, name)
        except LookupError as exc:
            raise Failed(f"{exc}; mooring uploads list {device} shows all") from exc
        _save(store, row, path)
    if as_json:
        print_json({**asdict(row), "file": str(path)})
    else:
        click.echo(f"{path}: {row.total} bytes, sha256 {row.sha256}")


def _refuse_unknown(store: Store, device: str) -> None:
    if store.devices.find(device) is None:
        raise Failed(f"there is no device {device!r}; mooring devices list shows all")


def _cells(rows: Iterator[UploadRow]) -> Iterator[tuple[object, ...]]:
    for row in rows:
        yield row.device, row.name, row.total, row.received, row.created_at, row.stored_at, row.sha256


def _save(store: Store, row: UploadRow, path: Path) -> None:
    """Write beside the file that it shall be, and rename it when all is well."""
    digest = hashlib.sha256()
    try:
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name[:32]}-", dir=path.parent)
        try:
            with open(descriptor, "wb") as file:
                for block in store.uploads.blocks(row):
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != row.sha256:
                raise Failed(f"the database has other bytes than the device sent: sha256 {digest.hexdigest()}")
            os.chmod(beside, 0o666 & ~_umask())
            os.replace(beside, path)
        except BaseException:
            os.unlink(beside)
            raise
    except OSError as exc:
        raise Failed(f"{path}: {exc.strerror}") from exc


def _umask() -> int:
    """What the user's own files have; it can only be asked by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
