//! Messages between coordinator and client, and the console grammar.
#![cfg_attr(not(test), no_std)]
