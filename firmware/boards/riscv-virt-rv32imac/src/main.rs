//! zfl firmware for the board riscv-virt-rv32imac.
#![no_std]
#![no_main]

include!(concat!(env!("OUT_DIR"), "/board.rs"));

#[riscv_rt::entry]
fn main() -> ! {
    zfl_firmware::run(&BOARD)
}
