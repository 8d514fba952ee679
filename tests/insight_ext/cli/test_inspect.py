from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from insight_ext import (
    ArgumentError,
    BeliefError,
    CheckpointError,
    Prompt,
    PromptPool,
    SelectionLoop,
)
from insight_ext.beliefs.group import Group
from insight_ext.cli.inspect import belief_columns, inspect
from insight_ext.cli.main import main
from insight_ext.distributed.ranks import digest
from insight_ext.filters import VCRL
from insight_ext.selectors import InSight, Selector

POOL = PromptPool(Prompt(f"p{i}", f"{i}?", str(i)) for i in range(40))


def trained(selector="insight", steps=3, **options):
    """A loop after some steps of 4 prompts, with one more batch dealt."""
    loop = SelectionLoop(POOL, selector, **options)
    for _ in range(steps):
        for dealt, right in zip(loop.deal(4), (0, 2, 7, 8), strict=True):
            loop.report(dealt.group, [1.0] * right + [0.0] * (8 - right))
        loop.end_step()
    loop.deal(4)
    return loop


def content(loop):
    """What a trainer's checkpoint holds, as far as it matters here."""
    return {
        "pytorch-lightning_version": "2.6.6",
        "epoch": 1,
        "global_step": 3,
        "callbacks": {
            "Other": {},
            "Selection": {"loop": loop.state_dict(), "train_seconds": 12.3},
        },
    }


def shown(path, saved, capsys, *options):
    """What the command prints about it, as {name: text} and the lines below."""
    torch.save(saved, path)
    assert main(["inspect", str(path), *options]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    facts, name = {}, ""
    for line in lines[1:]:
        if line.startswith(("beliefs", "the strategy")):
            break
        if line[:1].isalpha():
            name, _, text = line.partition("  ")
            facts[name] = text.strip()
        else:
            facts[name] = f"{facts[name]} {line.strip()}".strip()
    return facts, lines


def test_the_state_of_the_pool_is_told(tmp_path, capsys):
    loop = trained()
    facts, lines = shown(tmp_path / "c.ckpt", content(loop), capsys)
    flying = ", ".join(f"p{dealt.position}" for dealt in loop.in_flight)
    assert facts["checkpoint"] == "epoch 1, 3 steps, of Lightning 2.6.6; selection in format 8"
    assert facts["pool"] == f"40 prompts, fingerprint {POOL.fingerprint}"
    assert facts["strategy"].startswith("InSight, seed 0, one prior for all prompts (1, 1), ")
    assert "decay 0.5" in facts["strategy"]
    assert facts["loop"] == "rollouts 8, success_threshold 1.0, partial_credit False"
    assert facts["steps"] == "3"
    assert facts["rollouts"] == "96 generated in 12 seconds of training"
    assert facts["in flight"].startswith(f"4 groups ({flying}), dealt in steps number 3 to 3")
    assert facts["filter"] == "none"
    visited = int((loop.selector.posterior.visits > 0).sum())
    assert f"beliefs in the checkpoint: {visited} of 40 prompts visited" in lines


def test_a_loops_own_file_is_told_as_well(tmp_path, capsys):
    loop = trained()
    facts, _ = shown(tmp_path / "loop.pt", loop.state_dict(), capsys)
    assert facts["checkpoint"] == "of a SelectionLoop, in format 8"
    assert facts["rollouts"] == "96 generated"


def test_the_strongest_and_the_weakest_evidence_are_listed(tmp_path, capsys):
    data = trained(steps=0)
    data.selector.observe([0, 1], [400, 0], [800, 1], step=0)
    _, lines = shown(tmp_path / "c.ckpt", content(data), capsys, "--rows", "1")
    strongest, weakest = (lines.index(f"{name} evidence") for name in ("strongest", "weakest"))
    assert lines[strongest + 2].split()[:2] == ["p0", "0.50"]
    assert lines[weakest + 2].split()[:2] == ["p1", "0.33"]
    assert len(lines) == weakest + 3


def test_what_it_would_choose_next_is_told_with_reasons(tmp_path, capsys):
    loop = trained(selector_options={"candidate_ratio": None})
    _, lines = shown(tmp_path / "c.ckpt", content(loop), capsys, "--rows", "3")
    at = lines.index("what it would choose next")
    names = lines[at + 1].split()
    assert names[:3] == ["prompt", "success", "rate"]
    assert names[-1] == "score"
    chosen = [dealt.prompt.id for dealt in loop.deal(3)]
    assert [line.split()[0] for line in lines[at + 2 : at + 5]] == chosen


def test_what_needs_the_prompts_is_told_with_them_only(tmp_path, capsys):
    pool = PromptPool(
        Prompt(p.id, p.prompt, p.answer, {"kind": "ab"[i % 2]}) for i, p in enumerate(POOL)
    )
    loop = SelectionLoop(
        pool, selector_options={"quota": {"meta": "kind", "shares": {"a": 1, "b": 0}}}
    )
    loop.save(tmp_path / "loop.pt")
    inspect(tmp_path / "loop.pt")
    assert "give the prompts with --pool" in " ".join(capsys.readouterr().out.split())
    inspect(tmp_path / "loop.pt", pool=pool)
    assert "choose next:" not in capsys.readouterr().out
    with pytest.raises(ArgumentError, match="pool: expected the one of the checkpoint"):
        inspect(tmp_path / "loop.pt", pool=PromptPool([Prompt("a", "b", "c")]))


@pytest.mark.parametrize("features", [{}, {"features": "meta:kind"}], ids=["plain", "features"])
@pytest.mark.parametrize("prior", [{}, {"prior": "empirical"}, {"prior": "meta:rate"}], ids=str)
def test_whatever_the_prior_the_beliefs_are_those_of_the_run(tmp_path, capsys, features, prior):
    fields = [{"kind": "ab"[i % 2], "rate": i / 40} for i in range(40)]
    pool = PromptPool(Prompt(f"p{i}", f"{i}?", "", meta) for i, meta in enumerate(fields))
    options = {**features, **prior, "half_life": 2.0}
    loop = SelectionLoop(pool, selector_options=options, rollouts=4)
    for _ in range(3):
        for dealt in loop.deal(30):
            loop.report(dealt.group, [float(i < dealt.position % 4) for i in range(4)])
        loop.end_step()
    loop.save(tmp_path / "loop.pt")
    inspect(tmp_path / "loop.pt", pool=pool)
    told = capsys.readouterr().out
    assert "prior" in " ".join(told.split())
    assert re.search(r"p(\d+)  \1\? ", told)  # beside the id the text, where the prompts are given
    columns = belief_columns(tmp_path / "loop.pt")
    for name, values in zip(("alpha", "beta"), loop.selector.posterior.current(), strict=True):
        assert torch.equal(torch.tensor(columns[name]), values)
        assert max(len(str(each)) for each in columns[name]) <= 12  # float32's digits, no more


def test_a_strategy_of_your_own_is_asked_when_you_name_it(tmp_path, capsys):
    own = f"{__name__}:Own"
    loop = trained(own)
    loop.save(tmp_path / "loop.pt")
    inspect(tmp_path / "loop.pt")
    assert "give your own strategy with --strategy" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "loop.pt"), "--strategy", own]) == 0
    assert "choose next:" not in capsys.readouterr().out


def test_groups_that_are_out_are_told(tmp_path, capsys):
    data = trained(max_staleness=2)
    facts, _ = shown(tmp_path / "c.ckpt", content(data), capsys)
    assert facts["in flight"].endswith(
        "), dealt in steps number 3 to 3; 0 closed incomplete, 0 duplicates"
    )


def test_the_filter_and_its_memory_are_told(tmp_path, capsys):
    chosen = VCRL(late=0.5, success_threshold=1.0)
    batch = [Group(0, (1.0, 0.0)), Group(1, (0.0, 1.0))]
    chosen.judge([batch], target=2, refillable=False)
    facts, _ = shown(tmp_path / "c.ckpt", content(trained(filter=chosen)), capsys)
    assert facts["filter"] == (
        "VCRL (success_threshold 1.0, oversample 1.0, early 0.3, late 0.5, warmup 20, "
        "momentum 0.9, max_replays 2), "
        "1 steps, 4 rollouts, 2 prompts remembered"
    )


def test_what_else_a_strategy_keeps_is_told(tmp_path, capsys):
    facts, _ = shown(tmp_path / "c.ckpt", content(trained("uniform")), capsys)
    assert facts["strategy"].endswith("half life None, queue of shape (24,)")


class Own(InSight):
    """A strategy that only its import path names."""


class Plain(Selector):
    """A strategy without beliefs."""

    values = ("asked",)

    def __init__(self, pool_size):
        super().__init__(pool_size)
        self.asked = 0

    def select(self, k, *, step, exclude):
        self.asked += 1
        return torch.arange(4 * step, 4 * step + k)


def test_a_strategy_without_beliefs_is_told_too(tmp_path, capsys):
    facts, lines = shown(tmp_path / "c.ckpt", content(trained(Plain(40))), capsys)
    assert facts["strategy"] == "Plain, seed 0, asked 4"
    assert lines[-1] == "the strategy keeps no beliefs"


def test_lines_fit_80_columns_where_names_allow(tmp_path, capsys):
    _, lines = shown(tmp_path / "c.ckpt", content(trained()), capsys)
    assert max(len(line) for line in lines[1:] if not line.startswith("pool")) <= 80


def refused(path, capsys):
    assert main(["inspect", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("insight-ext inspect: ")
    assert error.count("\n") == 1
    return error


def test_a_file_of_another_kind_is_refused_without_the_words_of_torch(tmp_path, capsys):
    path = tmp_path / "README.md"
    path.write_text("# Title")
    assert refused(path, capsys).endswith("got another kind of file; take another checkpoint\n")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(tmp_path, capsys, share):
    path = tmp_path / "c.ckpt"
    torch.save(content(trained()), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "expected a checkpoint, got" in refused(path, capsys)


def test_other_files_are_refused(tmp_path, capsys):
    path = tmp_path / "c.ckpt"
    assert "expected a checkpoint's file, found none" in refused(path, capsys)
    torch.save({"state_dict": {}}, path)
    assert "holds no beliefs" in refused(path, capsys)
    torch.save(content(trained()) | {"callbacks": {}}, path)
    assert "holds no beliefs" in refused(path, capsys)
    assert "another kind of file" in refused(Path(__file__), capsys)


def test_another_format_is_refused(tmp_path, capsys):
    saved = content(trained())
    saved["callbacks"]["Selection"]["loop"]["format"] = 1
    torch.save(saved, tmp_path / "c.ckpt")
    assert "have format 1: expected 8" in refused(tmp_path / "c.ckpt", capsys)


def test_a_flipped_bit_is_noticed(tmp_path, capsys):
    saved = content(trained())
    parts = saved["callbacks"]["Selection"]["loop"]["parts"]
    parts["selector"]["parts"]["posterior"]["per_prompt"]["alpha"].view(torch.int32)[3] ^= 1 << 20
    torch.save(saved, tmp_path / "c.ckpt")
    assert "beliefs are damaged: expected the digest" in refused(tmp_path / "c.ckpt", capsys)


def test_a_state_of_other_parts_is_refused(tmp_path, capsys):
    def save():
        loop = saved["callbacks"]["Selection"]["loop"]
        loop["digest"] = digest({name: part for name, part in loop.items() if name != "digest"})
        torch.save(saved, tmp_path / "c.ckpt")

    saved = content(trained())
    parts = saved["callbacks"]["Selection"]["loop"]["parts"]
    del parts["selector"]["parts"]["posterior"]["per_prompt"]["visits"]
    save()
    assert "expected visits in the checkpoint" in refused(tmp_path / "c.ckpt", capsys)
    del parts["totals"]
    save()
    assert "the selection's state is damaged: KeyError('totals')" in refused(
        tmp_path / "c.ckpt", capsys
    )
    saved = content(trained())
    parts = saved["callbacks"]["Selection"]["loop"]["parts"]
    parts["selector"]["parts"]["posterior"]["per_prompt"]["alpha"][7] = -1
    save()
    with pytest.raises(BeliefError, match=r"alpha\[7\]"):
        inspect(tmp_path / "c.ckpt")


def test_a_negative_number_of_rows_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="rows: expected 0 or more, got -1"):
        inspect(tmp_path / "none.ckpt", rows=-1)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="a checkpoint's file, got a folder"):
        inspect(tmp_path)


def test_the_beliefs_are_a_table(tmp_path, capsys):
    loop, path = trained(), tmp_path / "last.ckpt"
    torch.save(content(loop), path)
    assert main(["inspect", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == list(POOL.ids)
    expected = loop.selector.predict(torch.arange(len(POOL)))
    assert [row["success"] for row in rows] == pytest.approx(expected.tolist())
    assert main(["inspect", str(path), "--output", str(tmp_path / "beliefs.csv")]) == 0
    assert len((tmp_path / "beliefs.csv").read_text().splitlines()) == len(POOL) + 1
    assert "strongest evidence" in capsys.readouterr().out


def test_a_strategy_without_beliefs_has_no_table(tmp_path, capsys):
    torch.save(content(trained(Plain(40))), tmp_path / "last.ckpt")
    assert main(["inspect", str(tmp_path / "last.ckpt"), "--json"]) == 2
    assert "expected a strategy that keeps beliefs, got" in capsys.readouterr().err


def test_no_text_of_a_checkpoint_acts_on_the_terminal(tmp_path, capsys):
    hostile = "\x1b[2J\u202e\x9b[/red]"
    state = trained(filter="vcrl").state_dict()
    state["parts"]["selector"]["settings"][hostile] = hostile
    state["parts"]["filter"]["kind"] = state["settings"][hostile] = hostile
    state["pool"]["fingerprint"] = hostile
    state["digest"] = digest({name: part for name, part in state.items() if name != "digest"})
    shown(tmp_path / "c.ckpt", state, capsys)
    for options in ([], ["--json"]):
        assert main(["inspect", str(tmp_path / "c.ckpt"), *options]) == 0
        out = capsys.readouterr().out
        assert out.replace("\n", "").isprintable()
