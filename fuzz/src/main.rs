//! The targets under libFuzzer: `zfl-fuzz` fuzzes the one that
//! `ZFL_FUZZ_TARGET` names. `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::sync::OnceLock;

use zfl_fuzz::{TARGETS, Target};

static TARGET: OnceLock<&Target> = OnceLock::new();

/// The target that the environment names.
fn chosen() -> &'static Target {
    let name = std::env::var("ZFL_FUZZ_TARGET").unwrap_or_default();
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("ZFL_FUZZ_TARGET names no target: `{name}`"))
}

libfuzzer_sys::fuzz_target!(init: {
    TARGET.get_or_init(chosen);
}, |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.check)(bytes);
    }
});
