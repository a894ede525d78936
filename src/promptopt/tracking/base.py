"""The contract of a run log.

A sweep calls it with explicit run ids, from one thread, and may be killed at any moment: everything is written when the
call returns, and opening a run with the key it had before continues that run. A log never swallows a failure, and
without ``log_texts`` it takes no text of a golden case in any form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from promptopt.core.case import GoldenCase
from promptopt.core.model import FrozenModel
from promptopt.core.prompt import LoweredPrompt
from promptopt.errors import PromptoptError, UserError

Scalar = str | int | float | bool | None
RunStatus = Literal["finished", "failed", "killed"]

KEY_TAG = "promptopt.key"


class TrackingError(PromptoptError, RuntimeError):
    """A caller broke the contract of the log: a case text in what it wrote, an unknown run, a value that cannot fit."""


class TrackingStoreError(UserError):
    """The store behind the log cannot be reached or refuses to write."""


class GoldenRecord(FrozenModel):
    """A golden set, or one split of it, as a run uses it.

    Attributes:
        name: Name of the golden set.
        digest: SHA-256 of the golden set.
        context: What the run uses it for (``"search"``, ``"calibration"``, ``"test"``).
        source: Where the set comes from: a file, an address or a sentence.
        cases: The cases; the log leaves their texts out unless it may log texts.
    """

    name: str
    digest: str
    context: str
    source: str
    cases: tuple[GoldenCase, ...]


class Figure(Protocol):
    """What a log needs of a plotly figure."""

    def to_json(self) -> Any:
        """The figure's data and layout as JSON text."""
        ...

    def to_html(self, *, include_plotlyjs: bool, full_html: bool) -> Any:
        """The figure as one HTML text."""
        ...


@runtime_checkable
class RunLog(Protocol):
    """Records runs. The experiment, the store and the privacy rule are set when the log is made."""

    @property
    def log_texts(self) -> bool:
        """True when texts of golden cases may be written; otherwise callers redact and the log refuses them."""
        ...

    def open_run(self, name: str, key: str, parent: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """Opens the run that has this key, or starts it.

        Args:
            name: Name for people; that of an existing run stays.
            key: Identity of the run within the experiment: letters, digits and ``_ . : / -``.
            parent: Run id of the parent, for a child run.
            tags: Written again each time the run is opened.

        Returns:
            The run id, which every other method takes.

        Raises:
            TrackingError: The key has other characters, or a tag is longer than 8,000.
            TrackingStoreError: The store does not answer.
        """
        ...

    def log_params(self, run_id: str, params: Mapping[str, Scalar]) -> None:
        """Writes parameters, which never change: writing an equal value again does nothing.

        Raises:
            TrackingError: A value differs from the one written before or is longer than 6,000 characters.
        """
        ...

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int | None = None) -> int:
        """Writes measured values.

        Args:
            run_id: The run.
            metrics: Name to value. Values that are not finite are left out: they are unmeasured, not zero.
            step: Position in the metric's history. Without one, a value equal to the last one is not repeated.

        Returns:
            How many values were left out.
        """
        ...

    def log_metric_history(self, run_id: str, steps: Mapping[int, Mapping[str, float]]) -> int:
        """Writes the values of many steps in as few round trips as the store allows; otherwise :meth:`log_metrics`."""
        ...

    def logged_steps(self, run_id: str, metric: str) -> set[int]:
        """The steps at which the metric has a value, so that a resumed sweep fills in what is missing."""
        ...

    def log_dict(self, run_id: str, data: Mapping[str, Any], file: str) -> None:
        """Writes JSON data as ``file`` (``.json``); numbers that are not finite become null."""
        ...

    def log_text(self, run_id: str, text: str, file: str) -> None:
        """Writes a text as ``file``, replacing an earlier one."""
        ...

    def log_table(self, run_id: str, rows: Sequence[Mapping[str, Any]], file: str) -> None:
        """Writes rows as ``file`` (``.csv`` or ``.json``); columns in the order in which rows first name them."""
        ...

    def log_figure(self, run_id: str, figure: Figure, file: str) -> None:
        """Writes a plotly figure as ``file`` (``.html``) that shows without a network (about 5 MB each)."""
        ...

    def log_dataset(self, run_id: str, record: GoldenRecord) -> None:
        """Writes a golden set as an input of the run, and its cases' ids, labels and kinds as ``golden/...csv``."""
        ...

    def register_prompt(
        self, run_id: str, name: str, prompt: LoweredPrompt, tags: Mapping[str, str] | None = None
    ) -> str | None:
        """Registers a chat prompt and links it to the run.

        The same prompt under the same name is one version however often it is registered; it keeps the tags of the
        first time. The template is :func:`promptopt.tracking.template.chat_template` of the prompt.

        Args:
            run_id: The run.
            name: Letters, digits and ``_ . -``; see :func:`promptopt.tracking.template.prompt_name`.
            prompt: Redacted (:meth:`promptopt.tracking.redaction.CaseTexts.redact_prompt`) unless ``log_texts``.
            tags: Facts about the prompt.

        Returns:
            The prompt's URI, or None where this log keeps prompts as files of the run (``prompts/<name>.json``).
        """
        ...

    def finish(self, run_id: str, status: RunStatus = "finished") -> None:
        """Ends a run; opening it again continues it."""
        ...

    def url(self, run_id: str) -> str | None:
        """Web address of the run, or None when no server shows it."""
        ...
