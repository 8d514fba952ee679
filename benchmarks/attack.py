"""`python -m benchmarks.attack`: hostile input, made at random, and what becomes of it.

Each attempt has one of three ends: it is refused in one sentence (`InsightError`), it goes in and
the result is checked, or it fails: a traceback, or a wrong result without a word. Attempt i of an
attack depends on its name and i alone. `make attack` runs this and the tests that attack with real
processes; docs/robustness.md keeps the table.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import json
import math
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from insight_ext import InsightError, Prompt, PromptPool, SelectionLoop, score, select_top_k
from insight_ext.cli.main import main as command
from insight_ext.data.yaml_file import check_yaml
from insight_ext.distributed.ranks import digest
from insight_ext.offline.logs import read_log
from insight_ext.report.prompts import difficult
from insight_ext.runs.reader import RunFolder, read_runs
from lightning_integration.grpo.rewards import MathVerify

POOL = PromptPool(Prompt(f"p{i}", f"{i}?", str(i)) for i in range(40))
SELECTORS = ("insight", "mopps", "dps", "greso", "bots", "uniform", "difficulty_pools", "adarft")
JUNK: list[Callable[[], Any]] = [
    lambda: None,
    lambda: True,
    lambda: -1,
    lambda: 2**63,
    lambda: 1.5,
    lambda: math.nan,
    lambda: math.inf,
    lambda: "x\x1b[31m",
    lambda: b"x",
    lambda: [],
    lambda: {},
    lambda: [1, 2],
    lambda: {"a": 1},
    lambda: np.float64(2),
    lambda: np.array(["a"]),
    lambda: torch.zeros(0),
    lambda: torch.tensor([-5]),
    lambda: torch.tensor([2**40]),
    lambda: torch.full((40,), math.nan),
    lambda: torch.zeros(3, 3, dtype=torch.int64),
    lambda: torch.zeros(1).expand(10**12),
    lambda: torch.ones(40, dtype=torch.float64),
    lambda: torch.ones(40, dtype=torch.bool),
    lambda: [torch.tensor([3, 3, 3])],
]


def loop_of(chance: random.Random) -> SelectionLoop:
    return SelectionLoop(POOL, chance.choice(SELECTORS), rollouts=4, max_staleness=2, filter="vcrl")


def trained(loop: SelectionLoop, steps: int = 3) -> SelectionLoop:
    for step in range(steps):
        for group, position, _ in loop.deal(5)[step > 0 :]:
            loop.report(group, [1.0, 0.0, 0.0, float(position % 2)])
        loop.end_step()
    return loop


def paths(state: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    parts = state.items() if isinstance(state, dict) else ()
    parts = enumerate(state) if isinstance(state, list) else parts
    for name, part in parts:
        yield (*path, name)
        yield from paths(part, (*path, name))


def crafted_states(chance: random.Random, folder: Path) -> None:
    """A saved state with one entry replaced, and the digest that belongs to it."""
    first = loop_of(chance)
    state = copy.deepcopy(trained(first).state_dict())
    *way, last = chance.choice(list(paths(state)))
    place = state
    for name in way:
        place = place[name]
    place[last] = chance.choice(JUNK)()
    state.pop("digest", None)
    try:
        state["digest"] = digest(state)
    except RuntimeError:
        state["digest"] = ""  # expanded tensors have none
    options = {"rollouts": 4, "max_staleness": 2, "filter": "vcrl"}
    other = SelectionLoop(POOL, first.selector.made["selector"], **options)
    other.load_state_dict(state)
    trained(other)


def damaged_checkpoint(chance: random.Random, folder: Path, damage: Callable[..., bytes]) -> None:
    loop = trained(loop_of(chance))
    path = folder / "loop.pt"
    loop.save(path)
    path.write_bytes(damage(path.read_bytes(), chance))
    other = SelectionLoop(
        POOL, loop.selector.made["selector"], rollouts=4, max_staleness=2, filter="vcrl"
    )
    other.load(path)
    same = digest(other.selector.state_dict()) == digest(loop.selector.state_dict())
    assert same, "other beliefs without a word"


def flipped_bits(chance: random.Random, folder: Path) -> None:
    """A loop's file with one bit flipped: refused, or the flipped bit meant nothing."""
    damaged_checkpoint(chance, folder, flipped)


def truncations(chance: random.Random, folder: Path) -> None:
    """A loop's file cut off."""
    damaged_checkpoint(
        chance, folder, lambda content, chance: content[: chance.randrange(len(content))]
    )


def flipped_shards(chance: random.Random, folder: Path) -> None:
    """A pool's shards with one bit flipped: beliefs stay with the prompts that are as they were."""
    import pyarrow as pa
    import pyarrow.parquet

    kind = chance.choice(["jsonl", "parquet"])
    shards = [folder / f"part-{i}.{kind}" for i in range(2)]
    for shard, rows in zip(shards, (PROMPTS[:5], PROMPTS[5:]), strict=True):
        if kind == "parquet":
            pa.parquet.write_table(pa.Table.from_pylist(rows), shard)
        else:
            shard.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = (SelectionLoop(PromptPool.from_file(shards), rollouts=4) for _ in range(2))
    fresh = dict(zip(second.pool.ids, second.selector.posterior.alpha.tolist(), strict=True))
    trained(first)
    hit = chance.choice(shards)
    hit.write_bytes(flipped(hit.read_bytes(), chance))
    other = SelectionLoop(PromptPool.from_file(shards), rollouts=4)
    other.load_state_dict(first.state_dict())
    before = {prompt.id: prompt for prompt in first.pool}
    learned = dict(zip(first.pool.ids, first.selector.posterior.alpha.tolist(), strict=True))
    for prompt, alpha in zip(other.pool, other.selector.posterior.alpha.tolist(), strict=True):
        old = before.get(prompt.id)
        same = old is not None and (old.prompt, old.answer) == (prompt.prompt, prompt.answer)
        expected = learned[prompt.id] if same else fresh["p0"]
        assert alpha == expected, f"{prompt.id} has the belief of another prompt"


def flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def mangled(content: bytes, chance: random.Random) -> bytes:
    """Bytes changed, lost, doubled and put in."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content) + 1)
        piece = content[at : at + chance.randrange(40)]
        new = chance.choice(
            [b"", piece * 2, b"\x00", b"\xff\xfe", b'"', b"{", b"]", b",", b"\n", b"1e999", b"null"]
        )
        content = content[:at] + new + content[at + len(piece) :]
    return content


PROMPTS = [
    {"id": f"p{i}", "prompt": f"{i}+1=", "answer": str(i + 1), "meta": {"n": i}} for i in range(9)
]
GROUPS = [{"id": f"p{i % 9}", "step": i, "successes": i % 5, "rollouts": 8} for i in range(20)]
COMPLETIONS = [
    {"prompt": f"{i % 9}+1=", "completion": "2", "reward": i % 2, "step": i // 9} for i in range(20)
]


def written(rows: Sequence[dict[str, Any]], kind: str, folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    path = folder / f"file.{kind}"
    table = pa.Table.from_pylist(list(rows))
    if kind == "parquet":
        pa.parquet.write_table(table, path)
    elif kind == "csv":
        flat = [name for name in table.column_names if name != "meta"]
        pa.csv.write_csv(table.select(flat), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def malformed_files(chance: random.Random, folder: Path) -> None:
    """Pools and logs in JSONL, CSV and Parquet, mangled."""
    rows = chance.choice([PROMPTS, GROUPS, COMPLETIONS])
    path = written(rows, chance.choice(["jsonl", "csv", "parquet"]), folder)
    path.write_bytes(mangled(path.read_bytes(), chance))
    if rows is PROMPTS:
        PromptPool.from_file(path)
    else:
        log = read_log(path)
        assert (log.successes <= log.rollouts).all(), "more successes than rollouts"


def malformed_runs(chance: random.Random, folder: Path) -> None:
    """A run's folder of which one file is mangled: read as for the report, and as for `top`."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    loop = SelectionLoop(POOL, rollouts=4, folder=run, history_every=1)
    for _ in range(3):
        for group, position, _ in loop.deal(5):
            loop.report(group, [1.0, 0.0, 0.0, float(position % 2)], completions=list("abcd"))
        loop.end_step()
    loop.close()
    (run / "metrics.csv").write_text("step,val_accuracy/a\n0,0.5\n1,0.6\n2,0.7\n")
    (run / "config.yaml").write_text("a: &a [1, 2]\nmodel:\n  rollouts: 4\n")
    hit = chance.choice([path for path in sorted(run.rglob("*.*")) if path.is_file()])
    hit.write_bytes(mangled(hit.read_bytes(), chance))
    (read,), _ = read_runs(run)
    difficult(read)
    RunFolder(run)


def malformed_yaml(chance: random.Random, folder: Path) -> None:
    """Configuration files, mangled, with anchors and aliases among them."""
    text = b"a: &a [1, 2]\nmodel:\n  rollouts: 8\n  b: *a\ndata: {pool: x.jsonl, seed: 1}\n"
    (folder / "own.yaml").write_bytes(mangled(text, chance))
    check_yaml(folder / "own.yaml")


def hostile_names(chance: random.Random, folder: Path) -> None:
    """Ids that are markup, formulas or terminal control: `rank` shows and writes them as text."""
    pieces = [
        "[/INST]",
        "[bold]",
        "=1+1",
        "\x1b[2J",
        "\r\n",
        "$x^",
        "\u202e",
        "\x00",
        "'",
        "a",
        "\t",
        "-",
    ]
    names = {"".join(chance.choices(pieces, k=chance.randint(1, 5))) for _ in range(6)}
    rows = [{"id": name, "step": 0, "successes": 1, "rollouts": 2} for name in names]
    path = written(rows, "jsonl", folder)
    output = folder / "next.csv"
    shown, said = io.StringIO(), io.StringIO()
    with redirect_stdout(shown), redirect_stderr(said):
        code = command(["rank", "--log", str(path), "--top", "3", "--output", str(output)])
    if code:
        raise InsightError(said.getvalue())
    texts = (shown.getvalue(), output.read_text(encoding="utf-8"))
    assert not any(c in text for text in texts for c in "\x1b\x00\r\u202e"), "control characters"
    cells = [cell for row in csv.reader(io.StringIO(texts[1], newline="")) for cell in row]
    assert not any(cell.startswith(("=", "@")) for cell in cells), "a formula"


def native_calls(chance: random.Random, folder: Path) -> None:
    """`select_top_k` and `score` with arguments that mostly are none."""

    def some(good: Callable[[], Any]) -> Any:
        return good() if chance.random() < 0.7 else chance.choice(JUNK)()

    n = chance.choice([1, 40, 1000])
    alpha, beta = (some(lambda: torch.rand(n) + 0.5) for _ in range(2))
    k = some(lambda: chance.randint(1, n))
    seed = some(lambda: chance.randrange(2**64))
    exclude = some(lambda: torch.randperm(n)[: n // 4])
    best = select_top_k(alpha, beta, k, seed=seed, exclude=exclude)
    scores = score(alpha, beta)[best.indices]
    assert torch.equal(scores, best.scores), "other scores than `score` gives"
    assert len(set(best.indices.tolist())) == k, "repeated prompts"


EXPRESSIONS = [
    "9^{9^{9^{9}}}",
    "99999999!",
    "(" * 3000,
    r"\sqrt{" * 900,
    "__import__('os').system('x')",
]
EXPRESSIONS += [
    r"\sum_{i=1}^{10^{9}} i^{i}",
    "0x" + "f" * 10**5,
    r"\frac{1}{" * 900,
    "\\",
    "$" * 999,
]


def hostile_expressions(chance: random.Random, folder: Path) -> None:
    """Completions for math-verify that take all time and memory, or would run a program."""
    around = chance.choice(["{}", "${}$", r"\boxed{{{}}}", "{0} = {0}"])
    completion = around.format("".join(chance.choices(EXPRESSIONS, k=chance.randint(1, 2))))
    worth = MathVerify(seconds=0.5, processes=1)(Prompt("a", "?", "2"), completion)
    assert worth in (None, 0.0), f"a reward of {worth}"


ATTACKS: dict[str, tuple[Callable[[random.Random, Path], None], int]] = {
    "native calls": (native_calls, 20_000),
    "crafted states": (crafted_states, 3_000),
    "flipped bits": (flipped_bits, 1_000),
    "flipped bits in shards": (flipped_shards, 1_000),
    "truncations": (truncations, 300),
    "malformed files": (malformed_files, 3_000),
    "malformed runs": (malformed_runs, 1_000),
    "malformed YAML": (malformed_yaml, 2_000),
    "hostile names": (hostile_names, 300),
    "hostile expressions": (hostile_expressions, 60),
}
"""By name: the attack, and how often `make attack` tries it."""


def attacked(name: str, times: int, first: int = 0) -> tuple[Counter[str], list[str]]:
    """What came of these attempts, and the traces of those that failed."""
    ends: Counter[str] = Counter(refused=0, right=0, failed=0)
    traces = []
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        for i in range(first, first + times):
            torch.manual_seed(i)
            try:
                ATTACKS[name][0](random.Random(f"{name} {i}"), Path(folder))
                ends["right"] += 1
            except InsightError as error:
                one_line = "\n" not in str(error)
                ends["refused" if one_line else "failed"] += 1
                traces += [] if one_line else [f"{name} {i}: several lines: {error}"]
            except Exception:
                ends["failed"] += 1
                traces.append(f"{name} {i}: {traceback.format_exc()}")
    return ends, traces


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 1 if an attempt failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ATTACKS)}; all")
    parser.add_argument("--times", type=float, default=1.0, help="as often as `make attack` (1)")
    asked = parser.parse_args(arguments)
    print("| attack | tried | refused in one sentence | went in, and was right | failed |")
    print("| --- | --- | --- | --- | --- |")
    failures = []
    for name in asked.names or ATTACKS:
        times = max(1, round(asked.times * ATTACKS[name][1]))
        ends, traces = attacked(name, times)
        failures += traces
        counts = " | ".join(f"{ends[end]:,}" for end in ("refused", "right", "failed"))
        print(f"| {name} | {times:,} | {counts} |", flush=True)
    print(*failures[:20], sep="\n", file=sys.stderr)
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
