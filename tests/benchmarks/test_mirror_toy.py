import json

import pytest


@pytest.fixture
def toy(load):
    pytest.importorskip("ot", reason="POT is an extra")
    return load("mirror_toy")


def test_distances_alone_invert_some_and_an_anchor_none(toy):
    alone, anchored = (
        [toy.row_of("uniform", anchor, seed) for seed in range(6)]
        for anchor in ("none", "progress")
    )
    assert any(row["right"] < 0.5 for row in alone)
    assert all(row["is_refused"] for row in alone if row["right"] < 0.5)
    assert all(row["right"] > 0.8 and not row["is_refused"] for row in anchored)


def test_a_line_of_the_table_by_hand_and_the_page_of_a_record(toy, tmp_path):
    kind = {"spread": "uniform", "anchor": "none"}
    rows = [
        {**kind, "seed": 0, "right": 0.9, "rivalry": 0.5, "is_refused": True},
        {**kind, "seed": 1, "right": 0.1, "rivalry": 0.81, "is_refused": True},
        {**kind, "seed": 2, "right": 0.8, "rivalry": 0.2, "is_refused": False},
    ]
    record, page = tmp_path / "record.json", tmp_path / "page.md"
    record.write_text(json.dumps({"rows": rows}))
    toy.main(toy.Options(record=record, page=page, page_only=True))
    text = page.read_text()
    assert "3 seeds, 12 segments of each task" in text
    line = next(line for line in text.splitlines() if line.startswith("| uniform"))
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "uniform", "none", "60%", "1 of 3", "1 of 1", "1 of 2", "0.81", "53 %, 47 %",
    ]  # fmt: skip
