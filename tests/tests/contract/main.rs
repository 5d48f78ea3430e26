//! The contract, from outside: a real node over HTTP and the command line, held against the rows of the contract's reading.
//!
//! One module for each of its sections. A test is named after the row that it holds.

#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

mod api;
mod artifacts;
mod bash;
mod callbacks;
mod checked;
mod children;
mod cli;
mod crowd;
mod digits;
mod disk;
mod dispatch;
mod elicitation;
mod explained;
mod fork;
mod hooks;
mod http_tools;
mod json_of_commands;
mod keeping;
mod lifecycle;
mod listed;
mod looks;
mod mcp;
mod mcp_server;
mod models;
mod money;
mod notify;
mod openapi;
mod profiled;
mod recorded;
mod reload;
mod replay;
mod requests;
mod restart;
mod schedules;
mod schemathesis;
mod secrets;
mod strangers;
mod terminal;
mod tools;
