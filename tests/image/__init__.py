"""Tests of what the images are made of and of the images."""
