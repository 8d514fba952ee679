"""vLLM's weight transfer API, with a backend that needs no GPU in the place of CUDA IPC's."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

pytest.importorskip("vllm", reason="needs vLLM: make test-vllm sets it up")

from vllm.distributed.weight_transfer import (
    TrainerWeightTransferEngine,
    WeightTransferEngineFactory,
    WeightTransferTrainerFactory,
)
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo, IPCWeightTransferEngine

from lightning_integration.rollouts import Sampling, TransformersEngine, VLLMEngine

HANDED = {}


class Receiver(IPCWeightTransferEngine):
    """Takes the weights out of this process's memory instead of the GPU's."""

    def receive_weights(self, update_info):
        self.model.load_weights([(name, HANDED[name]) for name in update_info.names])


class Sender(TrainerWeightTransferEngine):
    init_info_cls = IPCTrainerInitInfo

    @classmethod
    def trainer_init(cls, init_info, *, client, source=None):
        client.init_weight_transfer_engine({"packed": init_info.packed})
        return cls(client=client, source=source, is_sender=init_info.is_sender)

    def send_weights(self):
        HANDED.update(self.source)
        told = self.source.metadata()
        self.client.start_weight_update()
        self.client.update_weights(
            {
                "names": [weight.name for weight in told],
                "dtype_names": [str(weight.dtype).removeprefix("torch.") for weight in told],
                "shapes": [list(weight.shape) for weight in told],
                "ipc_handles": [{} for _ in told],
            }
        )
        self.client.finish_weight_update()


def test_weights_go_by_the_transfer_api_where_it_is_configured(policies, monkeypatch):
    monkeypatch.setitem(WeightTransferEngineFactory._registry, "ipc", lambda: Receiver)
    monkeypatch.setitem(WeightTransferTrainerFactory._registry, "ipc", lambda: Sender)
    model, tokenizer = deepcopy(policies["tied"])
    engine = VLLMEngine(
        model,
        tokenizer,
        enforce_eager=True,
        max_model_len=128,
        weight_transfer_config={"backend": "ipc"},
    )
    greedy = Sampling(12, temperature=0.0)
    for factor in (1.0, 1.2):
        with torch.no_grad():
            for weight in model.parameters():
                weight *= factor
        assert engine.sync(model)["logprob_difference"] < 1e-4
        expected = TransformersEngine(model, tokenizer).generate(["12+3=", "1="], 1, greedy)
        assert engine.generate(["12+3=", "1="], 1, greedy).texts == expected.texts
    assert engine.route == "transfer"
