"""Builds are balanced, deterministic, independent of order, bounded, and never share a deciding word between splits."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.data.conllu import Sentence, read_conllu
from slonik.data.natasha_package import has_natasha
from slonik.inspection.intervals import wilson
from slonik.inspection.probing.annotator import label_errors
from slonik.inspection.probing.builder import build, build_probing, open_sources, write
from slonik.inspection.probing.selection import FEWEST, Item, Pool, select, shared_out
from slonik.inspection.probing.tasks import read_tasks
from tests.inspection.probing.test_labels import FIN, sentence


def _corpus(count: int = 900, seed: int = 0) -> list[Sentence]:
    """Sentences "прилагательное существительное глагол ..." with random number, tense and length."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        noun, verb = f"сущ{rng.randrange(60)}", f"глаг{rng.randrange(40)}"
        singular = rng.random() < 0.7
        feats = {**FIN, "Tense": "Past" if rng.random() < 0.6 else "Pres", "Aspect": "Imp", "Voice": "Act"}
        rows = [
            ("новый", "ADJ", 2, "amod", {}),
            (noun, "NOUN", 3, "nsubj", {"Number": "Sing" if singular else "Plur"}),
            (verb, "VERB", 0, "root", feats),
            (f"раз{number}", "ADV", 3, "advmod", {}),
        ]
        rows += [("снова", "ADV", 3, "advmod", {})] * rng.randrange(1, 12)
        made.append(sentence(*rows))  # type: ignore[arg-type]
    return made


def test_labels_are_balanced_and_keys_stay_in_one_split() -> None:
    built = build(_corpus(), size=300, tasks=["subj_number", "predicate_tense", "sent_len"])
    for name in ("subj_number", "predicate_tense"):
        rows = built.tasks[name].rows
        keys: dict[str, set[str]] = {}
        for split in ("tr", "va", "te"):
            sizes = [len(items) for (own, _), items in rows.items() if own == split]
            assert len(set(sizes)) == 1
            assert sizes[0] >= FEWEST[split]
            keys[split] = {item.key for (own, _), items in rows.items() if own == split for item in items}
        assert not keys["tr"] & keys["va"] | keys["tr"] & keys["te"] | keys["va"] & keys["te"]
        most = Counter(item.key for items in rows.values() for item in items).most_common(1)[0][1]
        assert most <= 2 * 6  # 2 % of the size for every label


def test_few_sentences_of_a_label_are_enough_for_a_task() -> None:
    """A hundred plural objects of many lemmas, a few of them common: every split has its share, no lemma is in two."""
    for seed in range(10):
        rng = random.Random(seed)
        items = {
            "Plur": [Item(rng.randrange(10**9), f"p{n}", f"сущ{min(rng.randrange(60), 40)}", 9) for n in range(45)],
            "Sing": [Item(rng.randrange(10**9), f"s{n}", f"сущ{rng.randrange(150)}", 9) for n in range(500)],
        }
        found = shared_out(items)
        for label, own in items.items():
            sizes = [len(found[split, label]) for split in ("tr", "va", "te")]
            assert sum(sizes) == len(own)
            assert sizes == pytest.approx([0.6 * len(own), 0.2 * len(own), 0.2 * len(own)], abs=0.08 * len(own) + 1)
        keys = [
            {i.key for (own, _), part in found.items() if own == split for i in part} for split in ("tr", "va", "te")
        ]
        assert not keys[0] & keys[1] | keys[0] & keys[2] | keys[1] & keys[2]
        pool = Pool(1000)
        for label, own in items.items():
            for item in own:
                pool.offer(label, "", item)
        assert select(pool, 2000).rows


def test_the_word_that_a_task_asks_about_is_written_beside_it(tmp_path: Path) -> None:
    built = build(_corpus(900), size=200, tasks=["subj_number", "sent_len", "word_content"])
    write(built, tmp_path, size=200, seed=0, facts={"annotation": "slovnet", "label_errors": {"subj_number": {
        "label_error": 0.02, "low": 0.01, "high": 0.04}}})  # fmt: skip
    assert sorted(path.name for path in tmp_path.glob("*.words")) == ["subj_number.words", "word_content.words"]
    number, length, content = read_tasks(tmp_path, ["subj_number", "sent_len", "word_content"])[0]
    for data in (number, content):
        for part in (data.train, data.validation, data.test):
            assert all(word in text for word, text in zip(part.words, part.texts, strict=True))
    assert content.train.words == tuple(content.train.labels)
    assert length.train.words == ()
    assert number.annotation == {"by": "slovnet", "automatic": True, "label_error": 0.02, "low": 0.01, "high": 0.04}
    assert length.annotation == {"by": "slovnet", "automatic": False}
    assert content.annotation["label_error"] is None
    (few,), _ = read_tasks(tmp_path, ["subj_number"], limit=50)
    assert all(word in text for word, text in zip(few.test.words, few.test.texts, strict=True))
    (tmp_path / "subj_number.words").write_text("слон\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="has 1 lines"):
        read_tasks(tmp_path, ["subj_number"])


def test_order_of_the_source_does_not_matter_and_duplicates_do_not_count(tmp_path: Path) -> None:
    corpus = _corpus(400)
    shuffled = [*corpus, *corpus[:100]]
    random.Random(1).shuffle(shuffled)
    for name, source in (("a", corpus), ("b", shuffled)):
        write(build(source, size=200), tmp_path / name, size=200, seed=0, facts={})
    files = sorted(path.name for path in (tmp_path / "a").glob("*.txt"))
    assert "subj_number.txt" in files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_manifest_says_what_is_there_and_why_not(tmp_path: Path) -> None:
    manifest = write(build(_corpus(300), size=200), tmp_path, size=200, seed=0, facts={"annotation": "by hand"})
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == manifest
    facts = manifest["tasks"]["subj_number"]
    lines = (tmp_path / "subj_number.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == sum(facts["sentences"].values())
    assert Counter(line.split("\t")[0] for line in lines) == facts["sentences"]
    assert facts["shared_keys"] == {"tr_va": 0, "tr_te": 0, "va_te": 0}
    aspect = manifest["tasks"]["predicate_aspect"]
    assert not aspect["built"]
    assert "fewer than two classes" in aspect["reason"]
    assert manifest["tasks"]["subj_gender"]["reason"].endswith("(no sentence has the features)")


def test_a_pool_is_bounded_and_keeps_the_smallest() -> None:
    pool = Pool(5)
    for number in random.Random(0).sample(range(1000), 200):
        pool.offer("x", "tr", Item(number, str(number), "", 5))
        assert len(pool.items("x", "tr")) <= 5
    kept = [item.priority for item in pool.items("x", "tr")]
    assert kept == sorted(kept)
    assert max(kept) < 100


def test_lengths_are_matched_where_there_are_sentences() -> None:
    pool = Pool(500)
    rng = random.Random(0)
    for number in range(3000):
        label = "a" if number % 2 else "b"
        length = rng.randrange(5, 20) if label == "a" else rng.randrange(12, 28)
        text = f"{label} {number}"
        pool.offer(label, "", Item(rng.randrange(10**9), text, text, length))
    means = []
    for match in (False, True):
        rows = select(pool, 300, match_length=match).rows
        means.append([sum(i.length for i in rows["tr", label]) / len(rows["tr", label]) for label in "ab"])
    assert abs(means[0][0] - means[0][1]) > 5
    assert abs(means[1][0] - means[1][1]) < 1


def test_word_content_has_one_of_the_words_in_every_row() -> None:
    built = build(_corpus(2500), size=400, tasks=["word_content"])
    rows = built.tasks["word_content"].rows
    labels = {label for _, label in rows}
    assert len(labels) >= 2
    for (_, label), items in rows.items():
        for item in items:
            assert [word for word in item.text.split() if word in labels] == [label]


def _treebank(path: Path, corpus: list[Sentence]) -> Path:
    lines = []
    for one in corpus:
        for w in one.words:
            feats = "|".join(f"{name}={value}" for name, value in w.feats.items()) or "_"
            lines.append(f"{w.id}\t{w.form}\t{w.lemma}\t{w.upos}\t_\t{feats}\t{w.head}\t{w.deprel}\t_\t_")
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_folder_is_built_whole_and_nothing_else_is_replaced(tmp_path: Path) -> None:
    bank, out = _treebank(tmp_path / "bank.conllu", _corpus(400)), tmp_path / "out"
    built = build_probing(bank, out=out, size=200, tasks=["subj_number", "predicate_tense"])
    assert json.loads((out / "rusenteval" / "manifest.json").read_text(encoding="utf-8")) == built.manifest
    assert built.table.rows[0].cells[0].text == "subj_number"
    assert [data.task.id for data in read_tasks(built.folder)[0]] == ["subj_number", "predicate_tense"]
    build_probing([bank], out=out, size=100, tasks=["predicate_tense"])
    assert not (out / "rusenteval" / "subj_number.txt").exists()  # of the build before
    assert not list(tmp_path.glob("**/*.steps"))
    with pytest.raises(SlonikError, match="no probing task can be built"):
        build_probing(bank, out=out, size=100, limit=5)
    assert (out / "rusenteval" / "predicate_tense.txt").exists()
    original = tmp_path / "data" / "rusenteval" / "gapping.txt"
    original.parent.mkdir(parents=True)
    original.write_text("tr\t0\tПервое .\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="is not empty"):
        build_probing(bank, out=tmp_path / "data", size=100)
    assert original.read_text(encoding="utf-8") == "tr\t0\tПервое .\n"


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="did you mean 'subj_number'"):
        build(_corpus(10), tasks=["subj_nmber"])
    with pytest.raises(SlonikError, match="--size 50"):
        build(_corpus(10), size=10)
    with pytest.raises(SlonikError, match="no sentence"):
        build([])
    with pytest.raises(SlonikError, match="no probing task can be built of 3 sentences"):
        write(build(_corpus(3), size=100), tmp_path, size=100, seed=0, facts={})
    text, bank = tmp_path / "a.txt", tmp_path / "b.conllu"
    text.write_text("Слон идёт домой.\n", encoding="utf-8")
    bank.write_text("1\tДа\t_\t_\t_\t_\t0\troot\t_\t_\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="cannot be mixed"):
        open_sources([text, bank])
    with pytest.raises(SlonikError, match="--share is 0"):
        open_sources([text], share=0)
    with pytest.raises(SlonikError, match=r"no treebank .*nowhere\.conllu"):
        open_sources([tmp_path / "nowhere.conllu"])
    with pytest.raises(SlonikError, match=r"no treebank .*nowhere\.conllu"):
        open_sources([text], gold=[tmp_path / "nowhere.conllu"])
    with pytest.raises(SlonikError, match="--limit is -3"):
        build(_corpus(10), limit=-3)


def test_errors_of_an_annotator_are_counted() -> None:
    gold = _corpus(50)

    class Always:
        """Calls every subject plural."""

        def again(self, sentences: list[Sentence]) -> list[Sentence]:
            made = []
            for one in sentences:
                plural = [w.feats | ({"Number": "Plur"} if "Number" in w.feats else {}) for w in one.words]
                rows = zip(one.words, plural, strict=True)
                made.append(sentence(*[(w.form, w.upos, w.head or 0, w.deprel, feats) for w, feats in rows]))
            return made

    found = label_errors(gold, Always().again)["subj_number"]
    singular = sum(one.words[1].feats["Number"] == "Sing" for one in gold)
    assert found["taken"] == 50
    assert found["label_error"] == pytest.approx(singular / 50)
    assert found["low"] < found["label_error"] < found["high"]
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


@pytest.mark.shared_data
def test_annotated_text_gives_tasks(shared_data: Path, tmp_path: Path) -> None:
    if not has_natasha():
        pytest.skip("natasha's files are not installed")
    gold = list(read_conllu(shared_data / "ud" / "ru_pud-ud-test.conllu"))[:250]
    path = tmp_path / "text.txt"
    path.write_text("\n".join(one.text for one in gold), encoding="utf-8")
    sentences, facts = open_sources([path])
    built = build(sentences, size=100, tasks=["subj_number", "predicate_tense"])
    assert facts["annotation"].startswith("slovnet")
    assert built.read >= 240
    for selection in built.tasks.values():
        assert all(item.key == item.key.lower() for items in selection.rows.values() for item in items)
        assert selection.rows
