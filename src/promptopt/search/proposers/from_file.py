"""Candidates from a file: what a person, or another tool, thought of."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from promptopt.core.candidate import Choice
from promptopt.core.model import FrozenModel
from promptopt.core.yaml_file import explain_validation, read_yaml
from promptopt.errors import ConfigError
from promptopt.search.proposers.base import History, Proposal
from promptopt.search.space import SearchSpace

COMPONENTS = ("instruction", "policy")


class ImportedCandidate(FrozenModel):
    """One candidate of a file.

    Attributes:
        choices: Dimension to choice; the seed prompt's where it is not named.
        texts: Component (``instruction``, ``policy``) to a text in place of a choice.
    """

    choices: dict[str, Choice] = Field(default_factory=dict)
    texts: dict[str, str] = Field(default_factory=dict)


class CandidateFile(FrozenModel):
    """A file of candidates."""

    candidates: tuple[ImportedCandidate, ...] = Field(min_length=1)


class FileProposer:
    """Proposes the candidates of a file, in its order, each once.

    Args:
        proposals: From :func:`read_candidates`.
    """

    name = "file"

    def __init__(self, proposals: tuple[Proposal, ...]) -> None:
        self._proposals = proposals

    def propose(self, history: History, count: int, seed: int) -> list[Proposal]:
        """The next ones that were not tried from this file."""
        tried = [(dict(t.proposal.point), dict(t.proposal.texts)) for t in history.tried]
        return [p for p in self._proposals if (dict(p.point), dict(p.texts)) not in tried][:count]


def read_candidates(path: Path, space: SearchSpace) -> tuple[Proposal, ...]:
    """Reads a YAML file of candidates.

    Raises:
        ConfigError: The file cannot be read, or names a dimension, choice or component that does not exist; says
            which candidate and key.
    """
    try:
        found = CandidateFile.model_validate(read_yaml(path, ConfigError))
    except ValidationError as cause:
        raise ConfigError(explain_validation(cause), where=path, remedy="correct the file of candidates") from cause
    for number, candidate in enumerate(found.candidates, start=1):
        where = f"{path}: candidate {number}"
        for name, choice in candidate.choices.items():
            known = space.dimensions.get(name)
            if known is None:
                remedy = f"there are {', '.join(space.dimensions)}"
                raise ConfigError(f"there is no dimension {name!r}", where=where, remedy=remedy)
            if choice not in known:
                remedy = f"choose from {', '.join(map(str, known))}, or widen the space"
                raise ConfigError(f"`{name}` has no choice {choice!r}", where=where, remedy=remedy)
        for name in candidate.texts:
            if name not in COMPONENTS:
                raise ConfigError(
                    f"there is no component {name!r}", where=where, remedy=f"choose from {', '.join(COMPONENTS)}"
                )
    seed = space.seed_point()
    return tuple(Proposal({**seed, **c.choices}, c.texts, FileProposer.name) for c in found.candidates)
