//! Starts real control planes, workers and upstreams inside a test, on free ports.
