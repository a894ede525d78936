"""Other ways of searching, behind one contract and one budget counter, to be compared with the sweep."""
