//! What is seen of a node from outside: metrics in both of their forms, traces, and the board and the alert rules that go by them.

mod board;
mod metrics;
mod night;
mod read;
mod traces;
