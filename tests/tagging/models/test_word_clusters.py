"""Word clusters: k-means that separates what is apart, words of like kind together, a file that gives them back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.tagging.models.word_clusters import WordClusters, cluster_words, spherical_k_means

WORDS = {
    "place": ["москва", "петербург", "казань", "омск", "пермь", "тула", "самара", "волгоград", "саратов", "воронеж"],
    "person": ["иван", "пётр", "сергей", "андрей", "дмитрий", "алексей", "николай", "виктор"],
    "month": ["январь", "февраль", "март", "апрель", "июнь", "июль", "август", "сентябрь", "ноябрь", "декабрь"],
    "company": ["facebook", "google", "microsoft", "twitter", "apple", "samsung"],
}


def test_groups_that_are_apart_are_found() -> None:
    rng = np.random.default_rng(1)
    directions = np.eye(5, 12, dtype=np.float32)
    vectors = np.repeat(directions, 40, axis=0) + 0.05 * rng.standard_normal((200, 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centres = spherical_k_means(vectors, 12, np.random.default_rng(0))
    nearest = (vectors @ centres.T).argmax(axis=1).reshape(5, 40)
    groups = [set(row.tolist()) for row in nearest]
    assert all(not (groups[one] & groups[other]) for one in range(5) for other in range(one))
    assert np.allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)


@pytest.fixture(scope="module")
def clusters() -> WordClusters:
    return cluster_words([word for words in WORDS.values() for word in words], 4)


def test_words_of_one_kind_share_a_cluster(clusters: WordClusters) -> None:
    def of(*words: str) -> set[int]:
        return {found[0] for word in words if (found := clusters(word))}

    assert len(of("январь", "февраль", "август", "ноябрь")) == 1
    assert len(of("сергей", "андрей", "дмитрий")) == 1
    assert not of("август") & of("андрей") and not of("август") & of("google")


def test_all_words_of_the_vectors_are_covered_and_others_are_not(clusters: WordClusters) -> None:
    assert len(clusters.numbers) > 200_000 and clusters("слон") is not None
    assert clusters("пётр") == clusters("петр") and clusters("щзщзщз") is None


def test_the_file_gives_the_same_clusters_and_damage_is_named(clusters: WordClusters, tmp_path: Path) -> None:
    small = WordClusters({"слон": 2, "тула": 0}, (0, 0, 1))
    small.save(tmp_path / "clusters.txt.gz")
    again = WordClusters.open(tmp_path / "clusters.txt.gz")
    assert again.numbers == small.numbers and again.coarse == small.coarse and again("слон") == (2, 1)
    (tmp_path / "clusters.txt.gz").write_bytes(b"nonsense")
    with pytest.raises(SlonikError, match="missing or damaged"):
        WordClusters.open(tmp_path / "clusters.txt.gz")


def test_no_known_word_gives_no_clusters() -> None:
    assert cluster_words(["щзщзщз"], 4).numbers == {}
