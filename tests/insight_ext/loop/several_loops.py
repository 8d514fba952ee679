"""One of several processes that share a loop: `several_loops.py FOLDER RANK SIZE STEPS KILLED`."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

import torch

from insight_ext import Prompt, PromptPool, SelectionLoop
from insight_ext.distributed.ranks import Ranks, digest

K = 4


def rewards(position, step):
    chance = random.Random(1009 * step + position)
    return [float(chance.random() < 1 - position / 60) for _ in range(K)]


def main(folder, rank, size, steps, killed=-1):
    """Deal 7 prompts a step and report a share; save after each step, and die if told so."""
    pool = PromptPool(Prompt(f"p{i}", f"{i}?", str(i)) for i in range(60))
    # Every process stops the same way at the same step, so no one waits for the one that is gone.
    loop = SelectionLoop(pool, "insight", rollouts=K, max_staleness=1, ranks=Ranks(rank, size))
    saved = folder / "loop.pt"
    if saved.exists():
        loop.load(saved)
    dealt = []
    while loop.step < steps:
        step = loop.step
        groups = loop.deal(7)
        dealt.append([each.position for each in groups])
        for each in groups:
            answers = rewards(each.position, step)
            if each.group % 3 == 0:  # in pieces, from whoever has them
                for number in range(rank, K, size):
                    loop.report(each.group, answers[number : number + 1], first=number, of=K)
            elif each.group % size == rank:
                loop.report(each.group, answers)
        loop.end_step()
        if rank == 0:
            loop.save(saved)
        if step == killed:
            loop.exchange()  # rank 0 has saved
            os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"rank{rank}.json").write_text(
        json.dumps({"dealt": dealt, "state": digest(loop.state_dict()["parts"])})
    )


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    own_rank, world, last, dies = map(int, numbers)
    torch.set_num_threads(1)
    if world > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{place}/meeting-{dies}", rank=own_rank, world_size=world
        )
    main(Path(place), own_rank, world, last, dies)
    if world > 1:
        # Gloo's threads have to end before the process does, and it not before the others.
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
