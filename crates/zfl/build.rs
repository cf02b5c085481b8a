//! Embeds the firmware images that `cargo xtask firmware` has built.
//!
//! They are taken from `ZFL_FIRMWARE_DIR`, else from `target/firmware` of the
//! workspace. Where there are none the program carries none: `zfl doctor` says
//! so, and what to do.

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=ZFL_FIRMWARE_DIR");
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let folder = match env::var_os("ZFL_FIRMWARE_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => workspace.join("target/firmware"),
    };
    // A folder that does not exist yet is watched as well.
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut images = Vec::new();
    if let Ok(entries) = fs::read_dir(&folder) {
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "elf") {
                images.push(path.canonicalize()?);
            }
        }
    }
    images.sort();
    let mut code = String::from("&[\n");
    for path in images {
        println!("cargo::rerun-if-changed={}", path.display());
        let board = path.file_stem().unwrap_or_default().to_string_lossy();
        writeln!(
            code,
            "    FirmwareImage {{ board: {board:?}, elf: include_bytes!({:?}) }},",
            path.display().to_string()
        )?;
    }
    code.push(']');
    fs::write(
        PathBuf::from(env::var("OUT_DIR")?).join("firmware.rs"),
        code,
    )?;
    Ok(())
}
