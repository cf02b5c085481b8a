//! Memory map and constants from `boards/mps2-an505.toml`.

fn main() {
    zfl_board_build::emit("mps2-an505");
}
