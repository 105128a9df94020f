//! metahubctl as a program: what it prints, and what it exits with.

mod demo;
mod exit_codes;
mod explain;
mod further_login;
mod plan;
mod process;
mod site;
mod up;
mod upstream;
