//! Memory map and constants from `boards/mps3-an547.toml`.

fn main() {
    zfl_board_build::emit("mps3-an547");
}
