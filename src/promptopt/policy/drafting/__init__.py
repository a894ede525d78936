"""Starts a policy from a document in plain language.

`document.read_document` finds the headings of a Markdown file and `template.lay_out` makes a clause of each, with a
mark wherever the author has to decide. `model_draft.draft_parts` asks a language model for those parts and keeps what
holds up; `writing.write_policy` makes the YAML file.
"""
