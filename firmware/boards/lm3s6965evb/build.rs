//! Memory map and constants from `boards/lm3s6965evb.toml`.

fn main() {
    zfl_board_build::emit("lm3s6965evb");
}
