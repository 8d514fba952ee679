"""One rank of sharded pools, told what to do: a program, RANK RANKS RENDEZVOUS_FILE SOCKET."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
from datetime import timedelta
from multiprocessing.connection import Client

import torch
import torch.distributed as dist

from insight_ext import ShardedPool, shard_files

COLUMNS = ("alpha", "beta", "visits", "latest")


class Actor:
    """What a test can ask of a rank, beside the methods of its pool."""

    def __init__(self, group):
        self.group = group
        self.pool = None

    def make(self, *settings, **more):
        self.pool = ShardedPool(*settings, group=self.group, **more)

    def regroup(self, members):
        self.group = dist.new_group(members)

    def hold(self, alpha, beta):
        """A pool of these beliefs."""
        self.make(len(alpha))
        own = slice(self.pool.first, self.pool.first + len(self.pool.local))
        self.pool.local.alpha.copy_(alpha[own])
        self.pool.local.beta.copy_(beta[own])

    def advance(self, step):
        self.pool.step = step

    def spoil(self, value, place=0):
        self.pool.local.beta[place] = value

    def beliefs(self):
        local = self.pool.local
        return {name: getattr(local, name).clone() for name in COLUMNS} | {"step": local.step}

    def collectives(self, name, *arguments, **more):
        """How many it takes to call a method of the pool."""
        original, calls = dist.all_gather, []
        dist.all_gather = lambda *a, **b: calls.append(a[1].numel()) or original(*a, **b)
        try:
            getattr(self.pool, name)(*arguments, **more)
        finally:
            dist.all_gather = original
        return calls

    def limit_file_size(self, most):
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard if most is None else most, hard))

    def die_in(self, name):
        """SIGKILL as soon as that function of shard_files is called."""
        setattr(shard_files, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))

    def fail_in(self, name, error):
        def fail(*_):
            raise error

        setattr(shard_files, name, fail)


def main():
    rank, ranks, rendezvous, socket = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{rendezvous}",
        rank=int(rank),
        world_size=int(ranks),
        timeout=timedelta(seconds=60),
    )
    # The first 1, 2, ... ranks as groups of their own, and all.
    groups = [dist.new_group(range(some)) for some in range(1, int(ranks))]
    actors = [Actor(group) for group in (*groups, None)]
    with Client(socket) as test:
        test.send(int(rank))
        while asked := test.recv_bytes():
            some, name, arguments, more = pickle.loads(asked)
            actor = actors[some - 1]
            act = getattr(actor, name, None) or getattr(actor.pool, name)
            try:
                answer = act(*arguments, **more)
            except Exception as error:
                answer = error
            test.send_bytes(pickle.dumps(answer))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
