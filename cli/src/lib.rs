//! metahubctl: administers a MetaHub, and runs one in a single process.
