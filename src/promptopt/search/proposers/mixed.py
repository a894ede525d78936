"""All proposers of a sweep as one: shares of the field, and the guard before everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from promptopt.core.case import GoldenCase
from promptopt.engines.base import JudgeEngine
from promptopt.errors import ConfigError
from promptopt.policy.model import Policy
from promptopt.search.candidates import CandidateMaker
from promptopt.search.proposers.base import History, Proposal, Proposer
from promptopt.search.proposers.config import ProposerConfig
from promptopt.search.proposers.crossover import CrossoverProposer
from promptopt.search.proposers.from_file import FileProposer, read_candidates
from promptopt.search.proposers.grammar import GrammarProposer
from promptopt.search.proposers.guard import ProposalGuard, Refusal
from promptopt.search.proposers.reflective import ReflectiveProposer
from promptopt.search.space import SearchSpace

SAMPLER = "sampler"


class MixedProposer:
    """Divides a field among proposers.

    Args:
        proposers: Name to proposer.
        shares: Name to weight; ``sampler`` stands for what is left to Optuna.
        guard: Refuses texts.

    Attributes:
        refusals: What was refused, in order.
    """

    name = "mixed"

    def __init__(self, proposers: Mapping[str, Proposer], shares: Mapping[str, float], guard: ProposalGuard) -> None:
        self._proposers = proposers
        self._shares = shares
        self._guard = guard
        self.refusals: list[Refusal] = []

    def propose(self, history: History, count: int, seed: int) -> list[Proposal]:
        """At most each proposer's share of the field, rounded down, and one at least while there is room."""
        total = sum(self._shares.values())
        found: list[Proposal] = []
        for name, proposer in self._proposers.items():
            share = self._shares[name] / total
            wanted = min(max(1, int(share * count + 1e-9)), count - len(found)) if share else 0
            if wanted > 0:
                found.extend(self._kept(proposer.propose(history, wanted, seed))[:wanted])
        return found

    def _kept(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        kept = []
        for proposal in proposals:
            refusal = self._guard.refusal(proposal)
            if refusal is None:
                kept.append(proposal)
            else:
                self.refusals.append(refusal)
        return kept


def make_proposers(
    config: ProposerConfig,
    space: SearchSpace,
    policy: Policy,
    maker: CandidateMaker,
    engine: JudgeEngine,
    cases: Sequence[GoldenCase],
    precision_floor: float,
) -> MixedProposer | None:
    """The proposers that a configuration names; None where the sampler proposes everything.

    Args:
        config: Shares and settings.
        space: The search space.
        policy: The policy.
        maker: Knows the texts of candidates.
        engine: The language model of the reflective proposer.
        cases: All golden cases, which no text may copy.
        precision_floor: Gives the incumbent's threshold for reflection.

    Raises:
        ConfigError: ``file`` has a share and no file is named, or the file does not fit.
    """
    made: dict[str, Proposer] = {}
    for name, share in config.shares.items():
        if name == SAMPLER or not share:
            continue
        if name == "grammar":
            made[name] = GrammarProposer(space, config.parents)
        elif name == "crossover":
            made[name] = CrossoverProposer(space, config.parents)
        elif name == "reflective":
            made[name] = ReflectiveProposer(engine, policy, maker.texts, precision_floor, config)
        elif config.file is None:
            raise ConfigError(
                "the proposer `file` has a share and no file", where="search.proposers", remedy="set file=PATH"
            )
        else:
            made[name] = FileProposer(read_candidates(Path(config.file), space))
    if not made:
        return None
    return MixedProposer(made, config.shares, ProposalGuard(cases, config.ngram, config.max_chars))
