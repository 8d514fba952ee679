"""From prompts to tokens: chat templates, and one token at most that begins a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from insight_ext import ArgumentError

Messages = Sequence[Mapping[str, str]]

# What `apply_chat_template` is told here and nowhere else.
OURS = {"conversation", "tokenize", "return_dict", "return_tensors", "padding", "truncation"}


@dataclass(frozen=True)
class PromptFormat:
    """How prompts become what the model reads.

    Messages always go through the tokenizer's chat template. Plain text goes there as one message
    of the user (`chat_template="apply"`), or to the tokenizer as it is (`"none"`). Where the
    tokenizer has no template, plain text is read as it is; where it has one, one of the two has to
    be chosen, since a chat model that never sees its template answers badly without a word.

    However the text comes about, it begins with at most one begin token: a text in which it is
    already written gets no second one.

    Args:
        chat_template: "apply" or "none"; None if there is no choice to make.
        system_prompt: put before the messages as one of the system.
        template_options: further arguments of the template, such as `enable_thinking`, or of
            `apply_chat_template`, such as `add_generation_prompt` (True if not given) and
            `chat_template` (another template, as text).

    Raises:
        ArgumentError: an unknown choice, or options of the template beside "none".

    Examples:
        >>> from lightning_integration.demo.model import make_tokenizer
        >>> tokenizer = make_tokenizer("0123456789+=")
        >>> PromptFormat().tokens(tokenizer, ["1+2="])
        [[3, 12, 4, 13]]
        >>> tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}={% endfor %}"
        >>> PromptFormat("apply").tokens(tokenizer, ["1+2"])
        [[3, 12, 4, 13]]
    """

    chat_template: Literal["apply", "none"] | None = None
    system_prompt: str | None = None
    template_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.chat_template not in ("apply", "none", None):
            raise ArgumentError(
                f"chat_template: expected apply or none, got {self.chat_template!r:.80}; another "
                "template goes into template_options"
            )
        for name in ("system_prompt", "template_options"):
            if self.chat_template == "none" and getattr(self, name):
                raise ArgumentError(
                    f"{name}: expected none beside chat_template: none, got "
                    f"{getattr(self, name)!r:.80}; take chat_template: apply"
                )
        taken = sorted(OURS & self.template_options.keys())
        if taken:
            raise ArgumentError(
                f"template_options: expected none of {', '.join(sorted(OURS))}, got {taken[0]}"
            )

    @classmethod
    def of(cls, given: PromptFormat | Mapping[str, Any] | None) -> PromptFormat:
        """The format as it is, or from its options by name, as a configuration file has them.

        Raises:
            ArgumentError: an unknown option.
        """
        if isinstance(given, PromptFormat):
            return given
        options = dict(given or {})
        known = [each.name for each in fields(cls)]
        unknown = [name for name in options if name not in known]
        if unknown:
            raise ArgumentError(
                f"prompt_format: expected options among {', '.join(known)}, got {unknown[0]!r}"
            )
        return cls(**options)

    def tokens(
        self, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str | Messages]
    ) -> list[list[int]]:
        """The tokens of each prompt.

        Args:
            tokenizer: the model's.
            prompts: texts, or lists of messages, each with `role` and `content`.

        Raises:
            ArgumentError: no choice for plain text where there is one, messages for a tokenizer
                without a template, messages that the template refuses, a prompt without any token.
        """
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        template = self.template_options.get("chat_template") or tokenizer.chat_template
        if texts and template and self.chat_template is None:
            raise ArgumentError(
                "chat_template: expected apply or none, since the tokenizer has a chat template "
                f"and prompts are plain text ({texts[0]!r:.80}), got no choice; apply makes each "
                "prompt a message of the user, none leaves the text as it is"
            )
        if not template and (self.chat_template == "apply" or len(texts) < len(prompts)):
            raise ArgumentError(
                "chat_template: expected a tokenizer with a chat template for "
                f"{'messages' if len(texts) < len(prompts) else 'apply'}, got one without; set "
                "tokenizer.chat_template, or in prompt_format (of the engine's options) "
                "template_options: {chat_template: ...}, or give plain text"
            )
        if self.chat_template == "none" and len(texts) < len(prompts):
            raise ArgumentError(
                "chat_template: expected plain text beside none, got messages; take apply"
            )
        if self.chat_template == "apply" or not texts:
            rows = [self._rendered(tokenizer, i, prompt) for i, prompt in enumerate(prompts)]
        else:
            rows = tokenizer(texts).input_ids
        begin = tokenizer.bos_token_id
        rows = [row[1:] if begin is not None and row[:2] == [begin] * 2 else row for row in rows]
        for prompt, row in zip(prompts, rows, strict=True):
            if not row:
                raise ArgumentError(f"prompts: expected a token in each, got none in {prompt!r}")
        return rows

    def _rendered(
        self, tokenizer: PreTrainedTokenizerBase, i: int, prompt: str | Messages
    ) -> list[int]:
        messages = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        )
        for message in messages:
            parts = ("role", "content") if isinstance(message, Mapping) else ()
            if not parts or not all(isinstance(message.get(part), str) for part in parts):
                raise ArgumentError(
                    f"prompt {i}: expected messages with role and content, both text, got "
                    f"{message!r:.80}"
                )
        if self.system_prompt is not None:
            if messages and messages[0]["role"] == "system":
                raise ArgumentError(
                    f"prompt {i}: expected no message of the system beside system_prompt, got "
                    f"{messages[0]['content']!r:.80}; leave one of the two out"
                )
            messages = [{"role": "system", "content": self.system_prompt}, *messages]
        options = {"add_generation_prompt": True, **self.template_options}
        try:
            ids: list[int] = tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=True,
                return_dict=False,
                **options,
            )
        except Exception as error:
            # Templates are programs, and raise what they like.
            raise ArgumentError(
                f"prompt {i}: expected messages that the chat template takes, got "
                f"{type(error).__name__}: {error}"
            ) from error
        return ids
