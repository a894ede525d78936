"""Wires the rooms into the product's main job: a configuration in; a swept, logged, exported and verified judge out."""
