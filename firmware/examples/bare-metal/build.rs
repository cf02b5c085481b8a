//! The memory map, from the file of a board of the target.

fn main() {
    // On the host the program is an ordinary one.
    match std::env::var("TARGET").as_deref() {
        Ok("thumbv7m-none-eabi") => zfl_board_build::emit("mps2-an385"),
        Ok("thumbv7em-none-eabihf") => zfl_board_build::emit("mps2-an386"),
        _ => {}
    }
}
