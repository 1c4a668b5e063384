"""Text of tokens that come one by one."""
from dataclasses import dataclass, field
from typing import Callable


@dataclass
class Pieces:
    """What each token adds to a text: together they are the text, and none holds half a character.

    A token alone may lose the space before it, or hold a part of a character: it is decoded behind
    the piece before it, and adds "" until the character is complete.
    """
    decode: Callable[[list[int]], str]
    before: list[int] = field(default_factory=list)        # the tokens of the last piece
    new: list[int] = field(default_factory=list)           # those that have added nothing yet

    def add(self, token: int, last: bool) -> str:
        self.new.append(token)
        old, text = self.decode(self.before), self.decode(self.before + self.new)
        if text == old or text.endswith("\N{REPLACEMENT CHARACTER}") and not last:
            return ""
        self.before, self.new = self.new, []
        return text[len(old):]
