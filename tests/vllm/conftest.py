"""Settings for a small machine, before vLLM is imported; without vLLM every module here skips."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def policies():
    """A model with a tied head and one with a head of its own, by the name of the head."""
    from lightning_integration.demo.model import make_model, make_tokenizer

    tokenizer = make_tokenizer("0123456789+=")
    return {
        "tied": (make_model(tokenizer, width=128), tokenizer),
        "untied": (make_model(tokenizer, width=128, tied=False), tokenizer),
    }
