import json

from pbrl.offline import load_dataset


def test_every_format_holds_the_same_episodes(load, tmp_path):
    loading = load("speed.loading")
    for path in loading.write_sources(tmp_path, 3_000).values():
        replay = load_dataset(path).replay
        lengths = replay.episode_lengths(replay.completed_episodes()).tolist()
        is_short = path.parent.name == "short"  # the last step of each has no known outcome
        assert lengths == [999 if is_short else 1000] * 3


def test_the_program_writes_its_figures(load, tmp_path, monkeypatch):
    loading = load("speed.loading")
    monkeypatch.setattr(loading, "NUM_STEPS", 3_000)
    monkeypatch.setattr(loading, "NUM_PAIRS", 20)
    monkeypatch.setattr(loading, "peak_memory", lambda _: 2**20)
    monkeypatch.setattr(
        loading,
        "time_in_turns",
        lambda runs, _, measure=loading.time_in_turns: measure(runs, 1, 1e-9),
    )
    program = load("speed_offline_loading")
    paths = {"output": tmp_path / "record.json", "page": tmp_path / "page.md"}
    program.main(program.SpeedOptions(rounds=1, **paths))
    rows = json.loads((tmp_path / "record.json").read_text())["rows"]
    assert {row["section"] for row in rows} == {"loading time", "loading memory", "pairs"}
    assert "Minari" in (tmp_path / "page.md").read_text()
