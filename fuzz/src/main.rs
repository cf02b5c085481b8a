//! The targets under libFuzzer: `zfl-fuzz` fuzzes the one that
//! `ZFL_FUZZ_TARGET` names. `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::path::Path;
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

/// A panic ends the search at once, and so would those of the library that
/// reads Parquet, which zfl catches. One that is not caught is found all the
/// same, where it leaves the target.
fn let_caught_panics_pass() {
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The sources of the workspace are named from its root.
        let place = panic.location().map(|location| Path::new(location.file()));
        if !place.is_some_and(Path::is_absolute) {
            end(panic);
        }
    }));
}

libfuzzer_sys::fuzz_target!(init: {
    let target = TARGET.get_or_init(chosen);
    if target.name == "parquet" {
        let_caught_panics_pass();
    }
}, |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.check)(bytes);
    }
});
