import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbrl.offline.collect.sources import MIXTURES, Source, mix, parse_source, quotas


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("random", Source(policy="random")),
        ("scripted:noise=0.3,share=2", Source(policy="scripted", noise=0.3, share=2.0)),
        (
            "runs/dmc/walker-walk/sac-0:stochastic=true",
            Source(policy="runs/dmc/walker-walk/sac-0", stochastic=True),
        ),
        ("scripted:scale=0.5,random=1", Source(policy="scripted", scale=0.5, random=1.0)),
        ("scripted:offset=-0.05", Source(policy="scripted", offset=-0.05)),
        ("replay=runs/x:share=3", Source(policy="replay=runs/x", share=3.0)),
        ("C:/runs/x", Source(policy="C:/runs/x")),
    ],
)
def test_a_source_is_read_from_words_and_says_them(text, source):
    assert parse_source(text) == source
    assert parse_source(str(source)) == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scripted:nois=0.3", "a source has share, noise, .*got 'nois'"),
        ("scripted:noise=much", "expected a number, got 'much'"),
        ("scripted:noise=-1", "noise must be 0 or above, got -1.0"),
        ("scripted:noise=nan", "noise must be 0 or above, got nan"),
        ("scripted:share=0", "share must be above 0"),
        ("scripted:scale=2", r"scale must be in \[0, 1\]"),
        ("scripted:random=1.5", r"random must be in \[0, 1\]"),
        ("runs/x:stochastic=yes", "expected true or false, got 'yes'"),
        ("scripted:stochastic=true", "has no samples"),
        ("replay=runs/x:noise=0.1", "nothing but its share can be set"),
        ("random:offset=0.1", "only the scripted expert has an offset"),
        ("scripted:offset=inf", "offset must be finite"),
        ("scripted:policy=random", "got 'policy'"),
        ("", "policy must be a name or a path"),
    ],
)
def test_words_that_are_no_source_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_source(text)


def test_mixtures_are_made_of_equal_shares_of_sampled_policies():
    medium, expert = Source(policy="runs/m", share=5.0), Source(policy="runs/e")
    mixed = mix("medium-expert", [medium, expert])
    assert [(one.policy, one.share, one.stochastic) for one in mixed] == [
        ("runs/m", 1.0, True),
        ("runs/e", 1.0, True),
    ]
    assert mix("medium-replay", [medium]) == (Source(policy="replay=runs/m"),)
    assert mix("random", []) == (Source(policy="random"),)
    assert mix("expert", [Source(policy="scripted")]) == (Source(policy="scripted"),)
    assert set(MIXTURES) == {"random", "medium", "medium-replay", "medium-expert", "expert"}


def test_a_mixture_of_other_policies_is_refused():
    with pytest.raises(ValueError, match=r"made of 2 policies \(medium, expert\), got 1"):
        mix("medium-expert", [Source(policy="runs/m")])
    with pytest.raises(ValueError, match="mixture must be one of"):
        mix("medum", [])


def test_quotas_by_hand():
    shares = [Source(policy="random", share=share) for share in (1.0, 1.0, 2.0)]
    assert quotas(shares, 8) == [2, 2, 4]
    assert quotas(shares, 10) == [3, 2, 5]  # 2.5, 2.5, 5: the first of the largest remainders
    with pytest.raises(ValueError, match="leave nothing"):
        quotas(shares, 2)


@given(
    st.lists(st.floats(0.1, 10), min_size=1, max_size=5),
    st.integers(1_000, 100_000),
)
def test_quotas_add_up_and_differ_from_the_shares_by_less_than_one(shares, total):
    counts = quotas([Source(policy="random", share=share) for share in shares], total)
    assert sum(counts) == total
    exact = [total * share / sum(shares) for share in shares]
    assert all(abs(count - one) < 1 for count, one in zip(counts, exact, strict=True))
