//! A virtual Ethernet in user space.
pub mod address;
pub mod counters;
pub mod frame;
pub mod gateway;
pub mod lane;
pub mod link;
pub mod network;
mod poller;
pub mod switch;
pub mod time;
