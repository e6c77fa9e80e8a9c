"""A real SQLAlchemy over leases: the pool as its ``creator``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.pool import NullPool

from mooring.db import ConnectionPool

TABLE = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), unique=True),
)


@pytest.fixture
def pool(make_pool: Callable[..., ConnectionPool]) -> ConnectionPool:
    # SQLAlchemy begins no transaction itself: it expects the driver to, as PEP 249 has it.
    return make_pool(autocommit=False)


@pytest.fixture
def engine(url: str, pool: ConnectionPool) -> Iterator[sa.Engine]:
    kind = "sqlite" if url.startswith("sqlite") else "mysql+mysqldb" if "mysqldb" in url else "mysql+pymysql"
    engine = sa.create_engine(f"{kind}://", creator=pool.get_connection, poolclass=NullPool)
    TABLE.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_what_is_committed_is_there_and_the_lease_comes_back(engine: sa.Engine, pool: ConnectionPool) -> None:
    with engine.begin() as connection:
        connection.execute(TABLE.insert(), [{"id": 1, "name": "ä 100 % 𝄞"}, {"id": 2, "name": "b"}])
    with engine.connect() as connection:
        assert connection.execute(sa.select(TABLE.c.name).where(TABLE.c.id == 1)).scalar() == "ä 100 % 𝄞"
        assert pool.stats().active == 1
    stats = pool.stats()
    assert (stats.active, stats.opened, stats.broken) == (0, 1, 0)


def test_an_exception_rolls_back(engine: sa.Engine, pool: ConnectionPool) -> None:
    with pytest.raises(ZeroDivisionError), engine.begin() as connection:
        connection.execute(TABLE.insert().values(id=1, name="a"))
        raise ZeroDivisionError
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(TABLE)).scalar() == 0
    assert pool.stats().active == 0


def test_errors_are_known_to_sqlalchemy_and_cost_no_connection(engine: sa.Engine, pool: ConnectionPool) -> None:
    for _ in range(2):
        with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
            connection.execute(TABLE.insert(), [{"id": 1, "name": "same"}])
            connection.execute(TABLE.insert(), [{"id": 2, "name": "same"}])
    assert (pool.stats().active, pool.stats().broken) == (0, 0)


def test_a_session_maps_objects(engine: sa.Engine) -> None:
    class Thing:
        id: int
        name: str

    orm.registry().map_imperatively(Thing, TABLE)
    with orm.Session(engine) as session:
        thing = Thing()
        thing.id, thing.name = 7, "seven"
        session.add(thing)
        session.commit()
    with orm.Session(engine) as session:
        found = session.get(Thing, 7)
        assert found is not None
        assert found.name == "seven"
