"""The analyses of waves find in a published network what its authors found."""

from pathlib import Path

import pytest

from mechgrok.analyses import activations, embedding, periodicity, progress
from mechgrok.exchange.importing import import_run
from mechgrok.runs import Run

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "peers" / "nanda_mod113_wd1.pth"
KEYS = [6, 23, 37, 39, 41]

pytestmark = pytest.mark.skipif(
    not PUBLISHED.is_file(), reason="no published file beside the checkout"
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Nanda et al.'s transformer on a + b mod 113 at its last step."""
    return import_run([PUBLISHED], tmp_path_factory.mktemp("published") / "run")


def test_its_key_frequencies_hold_the_embedding(published: Run) -> None:
    measured = embedding.measure(published).isel(step=0)
    assert measured.key.values.tolist() == KEYS
    assert float(measured.power.sel(frequency=KEYS).sum()) > 0.8


def test_the_cosines_of_its_key_frequencies_are_95_percent_of_its_logits(published: Run) -> None:
    measured = progress.measure(published).isel(step=0)
    assert measured.key.values.tolist() == KEYS
    assert float(measured.explained) > 0.95
    assert float(measured.restricted_loss) < float(measured.test_loss) < 1e-6
    assert float(measured.excluded_loss) > 4.7  # ln 113: worse than chance without them


def test_its_neurons_and_heads_use_the_key_frequencies(published: Run) -> None:
    measured = activations.measure(published).isel(step=0)
    strong = measured.variance > 0.01 * measured.variance.max()
    used = measured.frequency_of.where(strong).to_series()
    assert used.isin(KEYS)[used.notna()].mean() > 0.95
    assert set(measured.head_share.argmax("frequency").values.tolist()) <= set(KEYS)


def test_its_operands_come_through_attention(published: Run) -> None:
    through = periodicity.measure(published)
    direct = periodicity.measure(published, path="direct")
    assert float(through.explained.median()) > 0.7 > float(direct.explained.median())
