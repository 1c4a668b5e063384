"""Turns tokens into text while they are sampled, one by one."""
from dataclasses import dataclass, field
from typing import Callable


@dataclass
class Detokenizer:
    """What each new token adds to a completion; no piece ends within a character.

    A token that is decoded alone may lose the space before it, or be a part of a character. So a
    token is decoded together with those before it, and adds "" until its character is complete.
    """
    decode: Callable[[list[int]], str]
    printed: list[int] = field(default_factory=list)        # the prompt, then the last piece
    waiting: list[int] = field(default_factory=list)        # the tokens that have added nothing yet

    def add(self, token: int, last: bool) -> str:
        """The text that this token adds. last: is it the completion's last token?"""
        self.waiting.append(token)
        before = self.decode(self.printed)
        text = self.decode(self.printed + self.waiting)
        incomplete = text.endswith("\N{REPLACEMENT CHARACTER}") and not last
        if incomplete or text == before:
            return ""
        self.printed = self.waiting
        self.waiting = []
        return text[len(before):]
