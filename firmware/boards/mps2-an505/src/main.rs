//! zfl firmware for the board mps2-an505.
#![no_std]
#![no_main]

include!(concat!(env!("OUT_DIR"), "/board.rs"));

#[cortex_m_rt::entry]
fn main() -> ! {
    zfl_firmware::run(&BOARD)
}
