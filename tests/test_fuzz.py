"""The targets of ``fuzz/`` for a moment: every input of their corpora, and changes to these.

``script/fuzz`` runs the same targets for as long as one likes.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.inputs import inputs
from fuzz.targets import CORPUS, NAMES, open_target, seeds

SLOW = {"admin_http": 40, "gateway": 12}
"""Targets with a server behind them, and how many inputs they get."""

EXAMPLES = 60
LARGEST = 1500


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == NAMES
    for name in NAMES:
        assert seeds(name), name
        assert max(map(len, seeds(name))) < 16 * 1024, "seeds are small"


@pytest.mark.parametrize("name", NAMES)
def test_no_input_of_the_corpus_breaks_a_promise(name: str) -> None:
    with open_target(name) as check:
        for path in sorted((CORPUS / name).iterdir()):
            try:
                check(path.read_bytes())
            except Exception as exc:
                exc.add_note(f"try it alone: script/fuzz {name} --input {path}")
                raise


@pytest.mark.parametrize("name", NAMES)
def test_no_change_to_the_corpus_breaks_a_promise(name: str) -> None:
    with open_target(name) as check:

        @settings(
            max_examples=SLOW.get(name, EXAMPLES),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            # Making an input smaller takes minutes where each try waits for a server.
            phases=[Phase.generate] if name in SLOW else [Phase.generate, Phase.shrink],
        )
        @given(inputs(seeds(name), LARGEST) if name != "gateway" else st.binary(min_size=100, max_size=600))
        def attempt(data: bytes) -> None:
            check(data)

        attempt()
