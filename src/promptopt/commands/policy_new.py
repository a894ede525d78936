"""``promptopt policy new``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from promptopt.commands.output import console, count, error_console, print_json, program
from promptopt.commands.policy_cases import write_whole
from promptopt.config import load_config
from promptopt.errors import ConfigError, PolicyError
from promptopt.judges.factory import open_engine
from promptopt.policy.drafting.document import read_document
from promptopt.policy.drafting.draft import PolicyDraft
from promptopt.policy.drafting.model_draft import Drafted, draft_parts
from promptopt.policy.drafting.template import check_domain, lay_out
from promptopt.policy.drafting.writing import write_policy
from promptopt.policy.linting.checks.wording import FILL_IN
from promptopt.policy.procedure import MAX_CHECKLIST_CLAUSES
from promptopt.policy.reader import MAX_POLICY_BYTES

_PARTS = 5


@dataclass(frozen=True, slots=True)
class NewRequest:
    """What to start a policy from.

    Attributes:
        document: A Markdown file.
        domain: Name of the risk domain.
        language: ISO 639-1 code of the document.
        target: The policy file; None for ``DOMAIN.yaml`` in the working directory.
        judge: Configuration of the language model that drafts; None where none does.
        settings: Overrides of that configuration, as KEY=VALUE.
        force: Replace a file that is there.
    """

    document: Path
    domain: str
    language: str = "en"
    target: Path | None = None
    judge: str | None = None
    settings: Sequence[str] = ()
    force: bool = False


def new(request: NewRequest, as_json: bool) -> None:
    """Starts a policy from a document: a clause for each section, and a mark where the author has to decide."""
    check_domain(request.domain)
    target = Path(f"{request.domain}.yaml") if request.target is None else request.target
    _check(request, target)
    laid_out = lay_out(read_document(request.document), request.domain, request.language)
    drafted = Drafted(laid_out, ()) if request.judge is None else _drafted(laid_out, request.judge, request.settings)
    text = write_policy(drafted.draft, date.today(), target.name)
    if len(text.encode()) > MAX_POLICY_BYTES:
        raise PolicyError(
            f"the policy would have {len(text.encode())} bytes, more than {MAX_POLICY_BYTES}",
            where=request.document,
            remedy="divide the document into one for each risk domain",
        )
    write_whole(target, text)
    left = sum(FILL_IN in line for line in text.splitlines())
    if as_json:
        draft = drafted.draft
        facts = {"policy": str(target), "domain": draft.domain, "clauses": len(draft.clauses), "left": left}
        print_json({**facts, "author": draft.author or None, "drafted": draft.drafted, "notes": drafted.notes})
        return
    _print(drafted, request, target, left)


def _check(request: NewRequest, target: Path) -> None:
    if request.settings and request.judge is None:
        raise ConfigError("there is no language model that it could set", where="--set", remedy="give --judge too")
    if target.exists() and target.resolve() == request.document.resolve():
        raise PolicyError("the policy would replace the document", where=target, remedy="name another --output")
    if target.exists() and not request.force:
        raise PolicyError(
            "the file is already there", where=target, remedy="name another --output, or replace it with --force"
        )


def _drafted(draft: PolicyDraft, judge: str, settings: Sequence[str]) -> Drafted:
    config = load_config([f"judge={judge}", *settings]).judge
    # A section may be longer than the texts that a judge is set up for, and is worth reading whole.
    reader = config.model_copy(update={"max_item_tokens": 0, "too_long": "truncate"})
    progress = error_console()
    engine = open_engine(reader, lambda what: progress.print(f"[dim]{what}[/]"))
    try:
        progress.print(f"{config.name} drafts {count(len(draft.clauses), 'clause')}", markup=False)
        return draft_parts(draft, engine, config.name)
    finally:
        engine.close()


def _print(drafted: Drafted, request: NewRequest, target: Path, left: int) -> None:
    draft = drafted.draft
    lines = [f"{target}: {count(len(draft.clauses), 'clause')} laid out from {request.document}"]
    if draft.author:
        lines.append(f"{draft.author} drafted {draft.drafted} of {_PARTS * len(draft.clauses)} parts")
        lines += [f"  {note}" for note in drafted.notes]
    else:
        lines.append("no language model drafted anything; `--judge NAME` has one draft the parts of the clauses")
    if len(draft.clauses) > MAX_CHECKLIST_CLAUSES:
        most = f"a checklist takes at most {MAX_CHECKLIST_CLAUSES} clauses"
        lines.append(f"{most}: merge some, or have judges asked direct questions only")
    lines += [f"{count(left, 'place')} left to you, listed with their lines by", f"  {program()} policy lint {target}"]
    out = console()
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)
