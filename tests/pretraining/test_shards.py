"""Shards: what goes in comes out; killed, resumed, damaged, another corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.pretraining.shards import ShardWriter, TokenCorpus, open_shards, shard_facts

DOCUMENTS = [[[1, 2, 3], [4]], [[5, 6]], [[7], [8, 9], [10]], [[11, 12, 13, 14]]]


def _write(folder: Path, documents: list[list[list[int]]], *, vocabulary: int = 1000, stop: int = 99) -> ShardWriter:
    writer = ShardWriter(folder, key="k", vocabulary=vocabulary, shard_tokens=5)
    for number, document in enumerate(documents, start=1):
        if writer.done < number <= stop:
            writer.add(document, source_items=number)
    return writer


def _same(corpus: TokenCorpus, expected: list[list[list[int]]]) -> None:
    assert len(corpus) == len(expected)
    for number, document in enumerate(expected):
        assert corpus.document(number).tolist() == [token for sentence in document for token in sentence]
    assert np.diff(corpus.sentences).tolist() == [len(sentence) for document in expected for sentence in document]
    assert np.diff(corpus.documents).tolist() == [len(document) for document in expected]


@pytest.mark.parametrize(("vocabulary", "dtype"), [(1000, "uint16"), (100_000, "int32")])
def test_documents_come_back_from_several_shards(tmp_path: Path, vocabulary: int, dtype: str) -> None:
    corpus = _write(tmp_path / "s", [*DOCUMENTS, [[], []]], vocabulary=vocabulary).finish({"read": 5})
    _same(corpus, DOCUMENTS)
    assert corpus.tokens(2, 9).tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert corpus.tokens(0, 0).tolist() == []
    facts = shard_facts(tmp_path / "s")
    assert len(facts["shards"]) == 2 and facts["summary"] == {"read": 5}
    assert np.load(tmp_path / "s" / "shard_00000" / "tokens.npy").dtype == dtype
    _same(open_shards(tmp_path / "s", verify=True), DOCUMENTS)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_killed_conversion_goes_on_after_its_last_whole_shard(tmp_path: Path, stop: int) -> None:
    _write(tmp_path / "s", DOCUMENTS, stop=stop)
    with pytest.raises(SlonikError, match=r"was interrupted|holds no tokenised corpus"):
        open_shards(tmp_path / "s")
    _same(_write(tmp_path / "s", DOCUMENTS).finish(), DOCUMENTS)


def test_damage_and_other_inputs_are_named(tmp_path: Path) -> None:
    _write(tmp_path / "s", DOCUMENTS).finish()
    with pytest.raises(SlonikError, match="made from other inputs"):
        ShardWriter(tmp_path / "s", key="other", vocabulary=1000)
    file = tmp_path / "s" / "shard_00001" / "tokens.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    open_shards(tmp_path / "s")
    with pytest.raises(SlonikError, match="is not what was written"):
        open_shards(tmp_path / "s", verify=True)
    file.write_bytes(content[:-4])
    with pytest.raises(SlonikError, match=r"is damaged|cut short"):
        open_shards(tmp_path / "s")


def test_nothing_left_is_an_error_and_no_folder_of_another_format_is_read(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="every text was filtered out"):
        _write(tmp_path / "e", [[[]]]).finish()
    _write(tmp_path / "s", DOCUMENTS).finish()
    manifest = tmp_path / "s" / "shards.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(SlonikError, match="has the format 9"):
        open_shards(tmp_path / "s")


def test_a_part_of_a_corpus_is_a_corpus() -> None:
    corpus = TokenCorpus.of(DOCUMENTS)
    _same(corpus.subset([2, 0]), [DOCUMENTS[2], DOCUMENTS[0]])
