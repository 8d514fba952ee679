"""What a configuration names: fields of the prompts, logs, quotas."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight_ext import ArgumentError, ObservationError, Prompt, PromptPool, SelectionLoop
from insight_ext.offline.tables import write_columns
from insight_ext.plugins import parsed_options
from insight_ext.selectors import SELECTORS, BeliefSelector, Quota, make_selector

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
def test_every_strategy_takes_a_prior_from_a_difficulty(name):
    beliefs = made(name, "prior=difficulty:hard", "prior_strength=4").posterior
    assert beliefs.alpha.tolist() == [2.0, 5.0, 1.0]  # 75, 0 and 100 of 100
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


def known_of(name: str, source: str, tmp_path) -> tuple[BeliefSelector, BeliefSelector]:
    """A selector that was told by this source, and one that was not, on 96 prompts of two kinds."""
    rates = [i % 9 / 8 for i in range(96)]
    rows = [{"rate": rate, "kind": i % 2} for i, rate in enumerate(rates)]
    pool = PromptPool(Prompt(str(i), f"{i}", "x", row) for i, row in enumerate(rows))
    log = {"id": list(pool.ids), "step": [0] * 96, "successes": [i % 9 for i in range(96)]}
    write_columns(tmp_path / "log.csv", {**log, "rollouts": [8] * 96})
    options = {} if name != "gps" else {"features": "ngrams:8"}
    if name == "insight with features":
        name, options = "insight", {"features": "meta:kind"}
    told = source.replace("FILE", str(tmp_path / "log.csv"))
    return tuple(
        make_selector(name, 96, pool=pool, **options, **more) for more in ({"prior": told}, {})
    )


@pytest.mark.parametrize("name", [*SELECTORS, "insight with features"])
@pytest.mark.parametrize("source", ["meta:rate", "log:FILE", "empirical"])
def test_every_prediction_moves_by_what_is_known(name, source, tmp_path):
    told, untold = known_of(name, source, tmp_path)
    if source == "empirical":  # a hard pool, of which these are the first visits
        for selector in (told, untold):
            selector.observe(range(80), [0] * 70 + [1] * 10, 8, step=0)
        assert float(told.predict(range(80, 96)).mean()) < 0.2
        assert name == "insight with features" or float(untold.predict([95])) > 0.2
        return
    rates = torch.tensor([i % 9 / 8 for i in range(96)])
    both = torch.stack((told.predict(range(96)), rates))
    assert float(torch.corrcoef(both)[0, 1]) > 0.95
    assert (
        abs(float(torch.corrcoef(torch.stack((untold.predict(range(96)), rates)))[0, 1])) < 0.5
        or float(untold.predict(range(96)).std()) == 0.0
    )


@pytest.mark.parametrize("name", [*SELECTORS, "insight with features"])
@pytest.mark.parametrize("source", ["meta:rate", "log:FILE", "empirical"])
def test_every_strategy_resumes_with_every_prior(name, source, tmp_path):
    selectors = known_of(name, source, tmp_path)[0], known_of(name, source, tmp_path)[0]
    for step in range(12):
        chosen = selectors[0].select(10, step=step)
        if step >= 6:
            assert torch.equal(chosen, selectors[1].select(10, step=step))
            selectors[1].observe(chosen, chosen % 9, 8, step=step)
        selectors[0].observe(chosen, chosen % 9, 8, step=step)
        if step == 5:
            selectors[1].load_state_dict(selectors[0].state_dict())
    for one, other in zip(*(s.explain(range(96)).values() for s in selectors), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["insight", "gps"])
def test_a_prior_is_read_from_a_pool_in_several_files(name, tmp_path):
    for part in range(3):
        rows = {
            "id": [f"{part}-{i}" for i in range(5)],
            "prompt": list("abcde"),
            "answer": ["x"] * 5,
        }
        rows |= {"rate": [0.0, 0.25, 0.5, 0.75, 1.0], "kind": [0, 1, 0, 1, 0]}
        write_columns(tmp_path / f"train-0000{part}-of-00003.parquet", rows)
    pool = PromptPool.from_file(tmp_path)
    options = {"features": "meta:kind", "prior": "meta:rate", "prior_strength": 40}
    predicted = make_selector(name, 15, pool=pool, **options).predict(range(15))
    rates = torch.tensor([prompt.meta["rate"] for prompt in pool])
    assert float(torch.corrcoef(torch.stack((predicted, rates)))[0, 1]) > 0.95


@pytest.mark.parametrize("name", [*SELECTORS, "insight with features"])
def test_every_strategy_goes_on_with_a_changed_pool_and_a_prior(name):
    def made_for(ids):
        rows = ({"rate": int(i) % 9 / 8, "kind": int(i) % 2} for i in ids)
        pool = PromptPool(Prompt(str(i), f"{i}", "x", r) for i, r in zip(ids, rows, strict=True))
        own, options = name, {"prior": "meta:rate"}
        if name == "gps":
            options["features"] = "meta:kind"
        if name == "insight with features":
            own, options["features"] = "insight", "meta:kind"
        return SelectionLoop(pool, own, rollouts=8, selector_options=options), pool

    before, _ = made_for(range(40))
    for _ in range(4):
        for group, _, prompt in before.deal(8):
            before.report(group, [float(int(prompt.id) % 9 > i) for i in range(8)])
        before.end_step()
    after, pool = made_for(range(60, 19, -1))
    with pytest.warns(UserWarning, match="prompts"):
        after.load_state_dict(before.state_dict())
    predicted = after.selector.predict(range(len(pool)))
    rates = torch.tensor([prompt.meta["rate"] for prompt in pool])
    assert float(torch.corrcoef(torch.stack((predicted, rates)))[0, 1]) > 0.8
    assert len(after.deal(8)) == 8


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
        (
            "gps",
            {"prior": "difficulty:share"},
            r"prior: .* in \[0, 100\] .* got '2/8' of prompt 'a'",
        ),
        ("insight", {"prior": "uniform"}, "prior: expected meta:FIELD, difficulty:FIELD, log:FILE"),
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


@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [
        ("mopps", 'prior={"meta": "rate"}', "prior: expected two numbers"),
        ("mopps", "prior_strength=x", "expected prior_strength to be a number or none, got 'x'"),
        ("mopps", "prior_strength=[1, 2]", "expected prior_strength to be a number or none"),
        ("mopps", "prior_strength=true", "expected prior_strength to be a number or none, got Tru"),
        ("mopps", "interval=0.3", "expected interval to be a list of numbers, got 0.3"),
        ("mopps", "candidate_ratio=2.5", "expected candidate_ratio to be a whole number or none"),
        ("mopps", 'quota={"meta": ["domain"], "shares": {}}', "quota: expected {meta: FIELD, sha"),
        ("adarft", 'difficulty={"meta": "hard"}', "expected difficulty to be a Tensor or none"),
        ("bots", "references=[1, 2]", "expected references to be a Tensor or none"),
        ("insight", 'features=["meta:domain"]', "expected features to be a Tensor or none"),
        ("dps", "shared=maybe", "expected shared to be true or false, got 'maybe'"),
        ("gps", "model=7", "expected model to be settings by name or none, got 7"),
    ],
)
def test_an_option_of_another_type_is_refused_by_its_name(name, option, expected):
    strength = ["prior=meta:rate"] if option.startswith("prior_strength") else []
    with pytest.raises(ArgumentError, match=re.escape(expected)):
        made(name, option, *strength)


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


def test_mopps_as_published_can_be_written_in_a_configuration():
    selector = made(
        "mopps", "rule=threshold", "interval=[0.2,0.6]", "prior=meta:share", "prior_strength=24"
    )
    assert selector.interval == (0.2, 0.6)
    # Of 8 offline answers 2, 8 and 0 were right, and each counts three times.
    assert selector.posterior.alpha.tolist() == [7.0, 25.0, 1.0]
    assert selector.posterior.beta.tolist() == [19.0, 1.0, 25.0]


def test_numbers_written_as_text_count_as_numbers(tmp_path):
    path = tmp_path / "pool.csv"
    rows = [f"p{i},{i}+1=,{i + 1},{i / 40},{i}" for i in range(40)]
    path.write_text("\n".join(["id,prompt,answer,solve,hard", *rows]) + "\n")
    pool = PromptPool.from_file(path)
    rates = make_selector("mopps", 40, pool=pool, prior="meta:solve", prior_strength=8.0)
    assert rates.posterior.alpha[[0, 20]].tolist() == [1.0, 5.0]
    assert make_selector("adarft", 40, pool=pool, difficulty="meta:hard") is not None
    kinds = make_selector("gps", 40, pool=pool, features="meta:solve")
    assert kinds.model.embeddings.shape == (40, 1)


@pytest.mark.parametrize("prior", ["empirical", (1, 1), [2.0, 3.0]])
def test_a_strength_without_success_rates_is_refused(prior):
    with pytest.raises(ArgumentError, match="prior_strength: expected success rates as prior"):
        make_selector("mopps", 4, prior=prior, prior_strength=3)


@pytest.mark.parametrize("strength", ["x", -1, None, float("nan")])
def test_a_strength_of_a_log_that_is_no_number_of_answers_is_refused(strength, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("id,step,successes,rollouts\np0,0,4,8\n")
    pool = PromptPool([Prompt("p0", "", "")])
    with pytest.raises(ArgumentError, match="prior_strength: expected 0 or more answers, got "):
        make_selector("mopps", 1, pool=pool, prior=f"log:{path}", prior_strength=strength)
