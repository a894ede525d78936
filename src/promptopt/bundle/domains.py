"""Judging every case under several policies at once: one bundle per domain, one engine call per block and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from promptopt.bundle.contract import Content
from promptopt.bundle.domain_verdicts import DomainVerdicts
from promptopt.bundle.model import PromptBundle
from promptopt.bundle.runtime import DEFAULT_BLOCK, BundleJudge
from promptopt.core.verdict import Verdict
from promptopt.engines.base import JudgeEngine, Usage
from promptopt.errors import BundleError
from promptopt.policy.asking_together import Asked, answer_together
from promptopt.policy.model import Clause

Row = TypeVar("Row")


class MultiDomainJudge:
    """Judges texts as several bundles say, one per domain.

    Bundles that share an engine are asked in one call per block. Scores then agree with those of a bundle on its own
    within the engine's tolerance, as the engine lays out all queries of a call together.

    Args:
        bundles: Bundles of different domains; verdicts keep their order.
        engine: Gives the judge of a bundle; the same object for bundles that share one. The caller closes it.

    Raises:
        BundleError: Two bundles are of one domain, or there is none.
    """

    def __init__(self, bundles: Sequence[PromptBundle], engine: Callable[[PromptBundle], JudgeEngine]) -> None:
        check_domains(bundles)
        self._judges = {bundle.domain: BundleJudge(bundle, engine(bundle)) for bundle in bundles}
        self._clauses: dict[str, Sequence[Clause]] = {bundle.domain: bundle.procedure.clauses for bundle in bundles}
        self._usage = Usage()

    @property
    def domains(self) -> tuple[str, ...]:
        """What is judged, in order."""
        return tuple(self._judges)

    @property
    def usage(self) -> Usage:
        """What all calls so far have cost."""
        return self._usage

    def check_engines(self) -> None:
        """Refuses other judges than those that were measured; see :meth:`BundleJudge.check_engine`."""
        for judge in self._judges.values():
            judge.check_engine()

    def judge(self, texts: Sequence[Content | None], block: int = DEFAULT_BLOCK) -> list[DomainVerdicts]:
        """All domains' verdicts on each text, in order.

        Args:
            texts: What to judge, each a text or a mapping of parts; what is empty or missing no domain judges.
            block: Texts per engine call; at least 1.

        Returns:
            As many as texts.

        Raises:
            EngineError: An engine cannot serve a block at all.
        """
        return [verdicts for _, verdicts in self.judge_rows(texts, lambda text: text, block)]

    def judge_rows(
        self, rows: Iterable[Row], text: Callable[[Row], Content | None], block: int = DEFAULT_BLOCK
    ) -> Iterator[tuple[Row, DomainVerdicts]]:
        """Judges a stream, holding one block of it at a time; see :meth:`BundleJudge.judge_rows`."""
        if block < 1:
            raise ValueError(f"block must be at least 1, not {block}")
        stream = iter(rows)
        while chunk := list(islice(stream, block)):
            yield from zip(chunk, self._judge_block([text(row) for row in chunk]), strict=True)

    def _judge_block(self, texts: Sequence[Content | None]) -> list[DomainVerdicts]:
        columns: dict[str, list[Verdict]] = {}
        for engine, judges in self._by_engine():
            blocks = [judge.askable(texts) for judge in judges]
            asked = [Asked(judge.bundle.prompts, block.texts) for judge, block in zip(judges, blocks, strict=True)]
            answers, usage = answer_together(asked, engine)
            self._usage = self._usage + usage
            for judge, block, answered in zip(judges, blocks, answers, strict=True):
                columns[judge.bundle.domain] = [verdict for verdict, _ in judge.settle(block, answered)]
        return [self._outcome({domain: columns[domain][row] for domain in self.domains}) for row in range(len(texts))]

    def _by_engine(self) -> list[tuple[JudgeEngine, list[BundleJudge]]]:
        groups: dict[int, tuple[JudgeEngine, list[BundleJudge]]] = {}
        for judge in self._judges.values():
            groups.setdefault(id(judge.engine), (judge.engine, []))[1].append(judge)
        return list(groups.values())

    def _outcome(self, verdicts: Mapping[str, Verdict]) -> DomainVerdicts:
        return DomainVerdicts.of(verdicts, self._clauses)


def check_domains(bundles: Sequence[PromptBundle]) -> None:
    """Refuses bundles that cannot be told apart by their domain.

    Raises:
        BundleError: Two bundles are of one domain, or there is none.
    """
    domains = [bundle.domain for bundle in bundles]
    if not domains:
        raise BundleError("there is no bundle to judge with", remedy="name one bundle for each domain")
    if repeated := next((domain for domain in domains if domains.count(domain) > 1), None):
        names = ", ".join(bundle.name for bundle in bundles if bundle.domain == repeated)
        raise BundleError(
            f"two bundles are of the domain {repeated} ({names})", remedy="name one bundle for each domain"
        )
