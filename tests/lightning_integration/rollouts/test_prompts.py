from __future__ import annotations

import pytest
from tokenizers.processors import TemplateProcessing

from insight_ext import ArgumentError
from lightning_integration.demo.model import make_model, make_tokenizer
from lightning_integration.rollouts import PromptFormat, Sampling, TransformersEngine

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'tool' %}"
    "{{ raise_exception('no tools here') }}{% endif %}<{{ m['role'][0] }}>{{ m['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<a>{% endif %}{% if think %}?{% endif %}"
)
ASK = [{"role": "user", "content": "1+2"}]


def tokenizer_of(template=None, begins=True):
    """One that writes a begin token before every text, as Llama's and Gemma's do."""
    tokenizer = make_tokenizer("0123456789+=<>suatx?^")
    tokenizer.bos_token = "^"
    tokenizer.chat_template = template
    if begins:
        tokenizer._tokenizer.post_processor = TemplateProcessing(
            single="^ $A", special_tokens=[("^", tokenizer.bos_token_id)]
        )
    return tokenizer


@pytest.fixture
def chat():
    return tokenizer_of(TEMPLATE)


def texts(tokenizer, prompts, **options):
    return tokenizer.batch_decode(PromptFormat(**options).tokens(tokenizer, prompts))


def test_messages_go_through_the_template_with_one_begin_token(chat):
    several = [*ASK, {"role": "assistant", "content": "3"}, {"role": "user", "content": "4"}]
    assert texts(chat, [ASK, tuple(several)]) == ["^<u>1+2<a>", "^<u>1+2<a>3<u>4<a>"]


def test_plain_text_becomes_a_message_where_that_is_asked_for(chat):
    assert texts(chat, ["1+2"], chat_template="apply") == ["^<u>1+2<a>"]


def test_a_rendered_text_gets_no_second_begin_token(chat):
    rendered = chat.apply_chat_template(ASK, tokenize=False, add_generation_prompt=True)
    assert rendered.startswith("^")
    assert texts(chat, [rendered, "1+2"], chat_template="none") == [rendered, "^1+2"]
    assert texts(tokenizer_of(), [rendered]) == [rendered]


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("prompt", ["1+2", "^1+2", ASK])
def test_the_template_or_the_tokenizer_begins_a_text_never_both(begins, prompt):
    tokenizer = tokenizer_of(TEMPLATE, begins)
    choice = None if prompt is ASK else "none"
    ids = PromptFormat(choice).tokens(tokenizer, [prompt])[0]
    assert ids.count(tokenizer.bos_token_id) == (begins or prompt != "1+2")


def test_plain_text_beside_a_template_wants_a_choice(chat):
    with pytest.raises(ArgumentError, match="chat_template: expected apply or none, since .*'1.2'"):
        texts(chat, ["1+2"])
    with pytest.raises(ArgumentError, match="expected apply or none"):
        texts(chat, [ASK, "1+2"])
    assert texts(tokenizer_of(), ["1+2"]) == ["^1+2"]


def test_a_system_prompt_and_options_reach_the_template(chat):
    assert texts(chat, [ASK], system_prompt="s") == ["^<s>s<u>1+2<a>"]
    options = {"think": True, "add_generation_prompt": False}
    assert texts(chat, [ASK], template_options=options) == ["^<u>1+2?"]
    other = {"chat_template": "{{ messages[0]['content'] }}="}
    assert texts(tokenizer_of(), [ASK], template_options=other) == ["1+2="]


def test_two_messages_of_the_system_are_refused(chat):
    own = [{"role": "system", "content": "t"}, *ASK]
    with pytest.raises(ArgumentError, match="prompt 1: expected no message of the system beside"):
        texts(chat, [ASK, own], system_prompt="s")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"role": "tool", "content": "x"}, "the chat template takes, got TemplateError: no tools"),
        ({"role": "user"}, "messages with role and content"),
        ({"role": "user", "content": None}, "messages with role and content"),
        ({"role": "user", "content": [{"type": "image"}]}, "messages with role and content"),
        ("1+2", "messages with role and content"),
    ],
)
def test_messages_that_cannot_be_read_are_named(chat, message, told):
    with pytest.raises(ArgumentError, match=f"prompt 1: expected {told}|prompt 1: .*{told}"):
        texts(chat, [ASK, [message]])


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        (ASK, {}, "a chat template for messages, got one without"),
        ("1+2", {"chat_template": "apply"}, "a chat template for apply, got one without"),
    ],
)
def test_a_tokenizer_without_a_template_is_named(prompt, options, message):
    with pytest.raises(ArgumentError, match=message):
        texts(tokenizer_of(), [prompt], **options)


def test_messages_do_not_go_with_none(chat):
    with pytest.raises(ArgumentError, match="expected plain text beside none, got messages"):
        texts(chat, [ASK], chat_template="none")


def test_a_prompt_without_a_token_is_refused():
    with pytest.raises(ArgumentError, match="expected a token in each, got none in ''"):
        texts(tokenizer_of(begins=False), ["1", ""])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chat_template": "chatml"}, "chat_template: expected apply or none, got 'chatml'"),
        ({"chat_template": "none", "system_prompt": "s"}, "system_prompt: expected none beside"),
        ({"chat_template": "none", "template_options": {"a": 1}}, "template_options: expected no"),
        ({"template_options": {"tokenize": False}}, "template_options: .* got tokenize"),
        ({"system": "s"}, "prompt_format: expected options among .*system_prompt.*, got 'system'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ArgumentError, match=message):
        PromptFormat.of(options)


def test_an_engine_reads_messages(chat):
    engine = TransformersEngine(
        make_model(chat, layers=1, heads=1), chat, prompt_format={"system_prompt": "s"}
    )
    rollouts = engine.generate([ASK, [{"role": "user", "content": "1"}]], 2, Sampling(2))
    rows = [
        chat.decode(ids[mask])
        for ids, mask in zip(rollouts.prompt_ids, rollouts.prompt_mask, strict=True)
    ]
    assert rows == ["^<s>s<u>1+2<a>"] * 2 + ["^<s>s<u>1<a>"] * 2
