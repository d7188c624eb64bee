"""Caffe logs read into arrays, curves, tables and one HTML page per run."""
