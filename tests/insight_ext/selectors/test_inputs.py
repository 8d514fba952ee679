"""What a configuration names: fields of the prompts, logs, quotas."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError, ObservationError, Prompt, PromptPool
from insight_ext.offline.tables import write_columns
from insight_ext.plugins import parsed_options
from insight_ext.selectors import SELECTORS, Quota, make_selector

FIELDS = (
    {"rate": 0.25, "share": "2/8", "weak": 0.1, "strong": 0.5, "hard": 75, "domain": "math"},
    {"rate": 1, "share": "8/8", "weak": 0.2, "strong": 1.0, "hard": 0, "domain": "code"},
    {"rate": 0.0, "share": "0/8", "weak": 0.0, "strong": 0.0, "hard": 100, "domain": "math"},
)
POOL = PromptPool(Prompt(name, "?", "x", dict(f)) for name, f in zip("abc", FIELDS, strict=True))


def made(name: str, *texts: str):
    """A selector with options as they are written on the command line."""
    options = parsed_options(texts)
    if name == "gps":
        options["features"] = "ngrams:8"
    return make_selector(name, len(POOL), pool=POOL, **options)


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("field", ["rate", "share"])
def test_every_strategy_takes_a_prior_from_a_field(name, field):
    beliefs = made(name, f"prior=meta:{field}", "prior_strength=4").posterior
    assert beliefs.alpha.tolist() == [2.0, 5.0, 1.0]
    assert beliefs.beta.tolist() == [4.0, 1.0, 5.0]


@pytest.mark.parametrize("name", SELECTORS)
def test_every_strategy_takes_a_prior_from_a_log(name, tmp_path):
    log = {"id": ["a", "a", "b"], "step": [0, 1, 1], "successes": [8, 4, 2], "rollouts": [8] * 3}
    write_columns(tmp_path / "log.csv", log)
    beliefs = made(name, f"prior=log:{tmp_path}/log.csv", "prior_strength=12").posterior
    # 12 of 16 answers count as 9 of 12; 2 of 8 as they are; nothing is known of the third.
    assert beliefs.alpha.tolist() == [10.0, 3.0, 1.0]
    assert beliefs.beta.tolist() == [4.0, 7.0, 1.0]


@pytest.mark.parametrize("name", SELECTORS)
def test_every_strategy_fits_a_prior_to_first_visits(name):
    n = 300
    options = {"features": torch.randn(n, 2)} if name == "gps" else {}
    selector = make_selector(name, n, prior="empirical", **options)
    for step in range(4):
        chosen = selector.select(40, step=step)
        selector.observe(chosen, torch.where(chosen % 3 == 0, 8, 0), 8, step=step)
    assert max(selector.posterior.prior) < 0.5


def test_an_index_of_the_pool_follows_a_fitted_prior(monkeypatch):
    indexed, passed = (
        make_selector("insight", 600, prior="empirical", candidate_ratio=None) for _ in range(2)
    )
    monkeypatch.setattr(passed, "_pool_index", lambda: None)
    for step in range(12):
        chosen = indexed.select(40, step=step)
        assert torch.equal(chosen, passed.select(40, step=step))
        for selector in (indexed, passed):
            selector.observe(chosen, torch.where(chosen % 3 == 0, 8, 0), 8, step=step)


def test_adarft_takes_its_difficulties_from_a_field():
    selector = made("adarft", "difficulty=meta:hard", "start=80")
    assert selector.select(3, step=0).tolist() == [0, 2, 1]


def test_bots_takes_its_references_from_two_fields():
    selector = made("bots", "references=meta:weak,strong")
    assert selector.references.tolist() == [
        pytest.approx([0.1, 0.5]),
        pytest.approx([0.2, 1.0]),
        [0.0, 0.0],
    ]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "insight",
            {"prior": "meta:level"},
            r"field 'level', prompt 'a' \(row 0\) has rate",
        ),
        (
            "insight",
            {"prior": "meta:hard"},
            r"success rate .* got 75 of prompt 'a' \(row 0",
        ),
        ("insight", {"prior": "meta:domain"}, r"got 'math' of prompt 'a' \(row 0\)"),
        ("insight", {"prior": "uniform"}, "prior: expected meta:FIELD, log:FILE or empirical"),
        ("insight", {"prior": "log:none.csv"}, "none.csv"),
        ("insight", {"prior": "meta:rate", "prior_strength": -1}, "prior_strength: expected 0 or"),
        (
            "adarft",
            {"difficulty": "meta:domain"},
            r"difficulty in .*'math' of prompt 'a'",
        ),
        ("adarft", {"difficulty": "hard"}, "difficulty: expected meta:FIELD, got 'hard'"),
        ("bots", {"references": "meta:rate"}, "references: expected two fields"),
        ("insight", {"quota": {"meta": "domain"}}, "quota: expected {meta: FIELD, shares:"),
        ("insight", {"quota": {"meta": "no", "shares": {}}}, r"field 'no', prompt 'a' \(row 0\)"),
    ],
)
def test_a_wrong_input_is_refused_by_name_and_row(name, options, message):
    with pytest.raises(ArgumentError, match=message):
        make_selector(name, len(POOL), pool=POOL, **options)


def test_a_log_about_other_prompts_is_refused_by_name_and_row(tmp_path):
    log = {"id": ["z"], "step": [0], "successes": [8], "rollouts": [8]}
    write_columns(tmp_path / "log.csv", log)
    with pytest.raises(ObservationError, match=r"log.csv:2: .*got 'z'"):
        made("insight", f"prior=log:{tmp_path}/log.csv")


@pytest.mark.parametrize("option", ["prior=meta:rate", 'quota={"meta": "domain", "shares": {}}'])
def test_without_a_pool_there_is_nothing_to_look_up(option):
    with pytest.raises(ArgumentError, match="can only be worked out from a pool"):
        make_selector("insight", 3, **parsed_options([option]))


def test_a_rate_that_is_none_is_refused_with_its_place():
    with pytest.raises(ArgumentError, match=r"prior\[1\]: expected a success rate .* got 1.5"):
        make_selector("insight", 2, prior=torch.tensor([0.5, 1.5]))


def domain_pool(sizes: dict[str, int]) -> PromptPool:
    names = [name for name, size in sizes.items() for _ in range(size)]
    return PromptPool(Prompt(str(i), "?", "x", {"domain": name}) for i, name in enumerate(names))


@pytest.mark.parametrize("exploration", [0.0, 0.3])
@pytest.mark.parametrize("name", SELECTORS)
def test_every_step_holds_the_shares_however_it_is_dealt(name, exploration):
    pool = domain_pool({"math": 90, "code": 20, "logic": 40})
    shares = {"math": 0.25, "code": 0.5, "logic": 0.25}
    options = {"quota": {"meta": "domain", "shares": shares}, "exploration": exploration}
    if name == "gps":
        options["features"] = "ngrams:8"
    selector = make_selector(name, len(pool), pool=pool, **options)
    for step, sizes in enumerate(([16], [1] * 16, [10, 6], [13, 3])):
        dealt = torch.empty(0, dtype=torch.int64)
        for k in sizes:
            dealt = torch.cat((dealt, selector.select(k, step=step, exclude=dealt)))
        domains = [pool[i].meta["domain"] for i in dealt.tolist()]
        assert {d: domains.count(d) for d in shares} == {"math": 4, "code": 8, "logic": 4}
        assert len(set(dealt.tolist())) == 16
        selector.observe(dealt, dealt % 9, 8, step=step)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data())
def test_a_domain_that_runs_out_leaves_its_places_to_others(sizes, data):
    names = "abcd"[: len(sizes)]
    weights = data.draw(st.lists(st.integers(0, 5), min_size=len(sizes), max_size=len(sizes)))
    shares = [w / sum(weights) for w in weights] if sum(weights) else [1 / len(sizes)] * len(sizes)
    pool = domain_pool(dict(zip(names, sizes, strict=True)))
    quota = {"meta": "domain", "shares": dict(zip(names, shares, strict=True))}
    selector = make_selector("uniform", len(pool), pool=pool, quota=quota)
    k = data.draw(st.integers(1, len(pool)))
    chosen = selector.select(k, step=0).tolist()
    assert len(set(chosen)) == k
    domains = [pool[i].meta["domain"] for i in chosen]
    for name, share in zip(names, shares, strict=True):
        got = domains.count(name)
        short = any(
            domains.count(other) == total for other, total in zip(names, sizes, strict=True)
        )
        assert short or abs(got - share * k) < len(sizes)


def test_a_quota_resumes_within_a_step():
    pool = domain_pool({"math": 50, "code": 50})
    quota = {"meta": "domain", "shares": {"math": 0.75, "code": 0.25}}
    one, other = (make_selector("insight", 100, pool=pool, quota=quota) for _ in range(2))
    dealt = one.select(3, step=0)
    other.load_state_dict(one.state_dict())
    ends = [selector.select(5, step=0, exclude=dealt).tolist() for selector in (one, other)]
    assert ends[0] == ends[1]
    assert sum(i < 50 for i in [*dealt.tolist(), *ends[0]]) == 6


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (
            {"math": 0.5, "art": 0.5},
            "domains .code, math., got one of 'art'",
        ),
        ({"math": 1.0}, "a share for every domain, got none for 'code'"),
        ({"math": 0.5, "code": 0.4}, "shares that sum to 1"),
        ({"math": 1.5, "code": -0.5}, r"a share in \[0, 1\] for 'math', got 1.5"),
    ],
)
def test_shares_that_are_none_are_refused(shares, message):
    with pytest.raises(ArgumentError, match=message):
        Quota(["math", "code", "math"], shares)


def test_the_order_of_the_file_is_kept_epoch_by_epoch():
    selector = make_selector("file_order", 5)
    out = torch.empty(0, dtype=torch.int64)
    steps = [selector.select(2, step=step, exclude=out).tolist() for step in range(5)]
    assert steps == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]
    selector = make_selector("file_order", 5)
    assert selector.select(2, step=0, exclude=torch.tensor([0])).tolist() == [1, 2]
    assert selector.select(2, step=1).tolist() == [0, 3]
