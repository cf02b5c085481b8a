//! A Cortex-M3 without an FPU and a Cortex-M4F train as the host does: the
//! losses and the parameters' hashes are equal.

use std::path::Path;
use std::process::{Command, Stdio};

/// QEMU's output; the program takes a second.
fn check(machine: &str, target: &str) {
    let image = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../target/firmware-examples")
        .join(format!("bare-metal-{target}.elf"));
    assert!(
        image.exists(),
        "{} is missing: `cargo xtask firmware` builds it",
        image.display()
    );
    let output = Command::new("timeout")
        .args(["60", "qemu-system-arm", "-machine", machine, "-nographic"])
        .args(["-monitor", "none", "-serial", "none"])
        .args(["-semihosting-config", "enable=on,target=native"])
        .arg("-kernel")
        .arg(&image)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // Semihosting's standard output is QEMU's.
    let device = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{device}{errors}");
    let host = zfl_bare_metal::report().unwrap();
    assert!(host.contains("f32  loss") && host.contains("i16  loss"), "{host}");
    assert_eq!(device, host);
}

#[test]
fn cortex_m3() {
    check("mps2-an385", "thumbv7m-none-eabi");
}

#[test]
fn cortex_m4f() {
    check("mps2-an386", "thumbv7em-none-eabihf");
}
