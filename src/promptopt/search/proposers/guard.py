"""What no proposal may be: empty, enormous, or a copy of a golden case.

A prompt that holds a golden text has been told the answer. The guard keeps digests of word sequences and no texts, so
that it may know of the sealed test.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from promptopt.core.case import GoldenCase
from promptopt.core.model import FrozenModel
from promptopt.search.proposers.base import Proposal

_WORD = re.compile(r"\w+", re.UNICODE)


class Refusal(FrozenModel):
    """A proposal that was not tried.

    Attributes:
        source: Its proposer.
        component: The component at fault.
        reason: ``"empty"``, ``"enormous"`` or ``"copies a golden case"``.
        case: Id of the case that is copied, if any.
    """

    source: str
    component: str
    reason: str
    case: str | None = None


class ProposalGuard:
    """Looks at the texts of proposals.

    Args:
        cases: All cases of the golden set.
        ngram: Words in a row that a text may not share with a case. A case with fewer words may not occur whole,
            unless it has fewer than three.
        max_chars: Longest text.
    """

    def __init__(self, cases: Iterable[GoldenCase], ngram: int, max_chars: int) -> None:
        self._ngram = ngram
        self._max_chars = max_chars
        self._known: dict[bytes, str] = {}
        self._lengths: set[int] = {ngram}
        for case in cases:
            words = _words(case.text)
            size = min(ngram, len(words))
            if size >= min(3, ngram):
                self._lengths.add(size)
                for digest in _digests(words, size):
                    self._known.setdefault(digest, case.id)

    def refusal(self, proposal: Proposal) -> Refusal | None:
        """Why a proposal is refused; None where nothing is wrong with it."""
        for component, text in proposal.texts.items():
            reason, case = self._fault(text)
            if reason:
                return Refusal(source=proposal.source, component=component, reason=reason, case=case)
        return None

    def _fault(self, text: str) -> tuple[str, str | None]:
        words = _words(text)
        if not words:
            return "empty", None
        if len(text) > self._max_chars:
            return "enormous", None
        for size in self._lengths:
            for digest in _digests(words, size):
                if digest in self._known:
                    return "copies a golden case", self._known[digest]
        return "", None


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _digests(words: list[str], size: int) -> Iterator[bytes]:
    for start in range(len(words) - size + 1):
        run = f"{size} " + " ".join(words[start : start + size])
        yield blake2b(run.encode("utf-8", errors="surrogatepass"), digest_size=12).digest()
