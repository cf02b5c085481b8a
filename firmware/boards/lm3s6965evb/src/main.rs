//! zfl firmware for the board lm3s6965evb.
#![no_std]
#![no_main]

include!(concat!(env!("OUT_DIR"), "/board.rs"));

#[cortex_m_rt::entry]
fn main() -> ! {
    zfl_firmware::run(&BOARD)
}
