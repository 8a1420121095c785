import io
import time

from rich.console import Console

from pbrl.training.progress import Progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def plain_console():
    return Console(file=io.StringIO(), width=200)


def test_a_line_now_and_then_where_there_is_no_terminal():
    console, clock = plain_console(), Clock()
    with Progress(1_000, label_budget=50, title="qpa", console=console, clock=clock) as progress:
        for step in range(0, 1_000, 10):
            clock.now = step / 10
            progress.update(step, labels=step // 20, reward_accuracy=0.875, score=123.456)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "qpa"
    assert len(lines) == 1 + 4 + 1  # at 0, 30, 60, 90 seconds and at the end
    assert "steps 600/1,000  steps/s 10  left 0:00:40  labels 30/50" in lines[3]
    assert "reward accuracy 88%  return 123.5" in lines[3]


def test_labels_given_stand_beside_those_asked():
    progress = Progress(10, label_budget=50, console=plain_console(), clock=Clock())
    progress.update(5, labels=30, labels_given=7)
    progress.update(6)
    assert progress.line() == "steps 6/10  labels 30/50 asked, 7 given"


def test_success_is_shown_as_a_rate_and_no_labels_where_none_are_asked():
    progress = Progress(10, score_name="success", console=plain_console(), clock=Clock())
    progress.update(5, labels=0, score=0.25, phase="evaluating")
    assert progress.line() == "steps 5/10  success 25%   evaluating"


def test_speed_is_that_of_the_last_minute_and_of_this_process():
    clock = Clock()
    progress = Progress(
        10_000, start_step=5_000, console=plain_console(), interval=1.0, clock=clock
    )
    assert progress.steps_per_second() == 0.0
    for second in range(200):
        clock.now = float(second)
        progress.update(5_000 + (second if second < 100 else 100 + 10 * (second - 100)))
    assert abs(progress.steps_per_second() - 10.0) < 0.2


def test_what_came_before_the_first_step_says_nothing_of_the_speed():
    clock = Clock()
    progress = Progress(90_000, console=plain_console(), clock=clock)
    clock.now = 1.1  # until everything is built
    progress.update(1)
    assert progress.line() == "steps 1/90,000"


def test_a_slow_speed_is_not_rounded_to_nothing():
    clock = Clock()
    progress = Progress(40, unit="episodes", console=plain_console(), interval=1.0, clock=clock)
    for second in range(21):
        clock.now = float(second)
        progress.update(second // 4)
    assert progress.line() == "episodes 5/40  episodes/s 0.25  left 0:02:20"


def test_a_terminal_gets_a_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Progress(100, title="walker", console=console) as progress:
        progress.update(50, score=1.0)
        progress.note("hello")
    text = console.file.getvalue()
    assert "walker" in text
    assert "50/100" in text
    assert "hello" in text


def test_updates_cost_next_to_nothing():
    progress = Progress(100_000, console=plain_console())
    start = time.perf_counter()
    for step in range(10_000):
        progress.update(step)
    assert time.perf_counter() - start < 1.0  # under 0.1 ms each; 2 microseconds without checks
