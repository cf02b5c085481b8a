//! Memory map and constants from `boards/riscv-virt-rv32imafc.toml`.

fn main() {
    zfl_board_build::emit("riscv-virt-rv32imafc");
}
