"""What differs between two versions of a policy, and which labelled cases and judges it touches.

`between.changes_between` lists the changes in words, each with its weight; `routing.compare_routing` works out on the
truth table which combinations of clauses come to another outcome; `touched` says which cases have to be read again.
There is one notion of change: the annotators' procedure lists the same changes as `promptopt policy diff`.
"""
