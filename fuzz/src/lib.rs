//! Fuzz targets: whatever reads bytes from the other side.
//!
//! A [`Target`] takes any bytes and holds a part of zfl to what it promises,
//! which is more than not to panic: what is decoded can be written again, what
//! is refused changes nothing, sizes stay within their bounds. The program
//! `zfl-fuzz` (feature `libfuzzer`) searches for bytes that break it, led by
//! coverage; the test here gives each target its corpus, `fuzz/corpus/NAME`,
//! in which are seeds and whatever was once found. `docs/fuzzing.md` says how
//! to run both.
#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "this is how a target says what it found"
)]

mod input;
mod packet;
mod targets;

/// A part of zfl and what is asked of it.
pub struct Target {
    /// What it is called: `ZFL_FUZZ_TARGET`, and the name of its corpus.
    pub name: &'static str,
    /// Panics where the bytes break a promise.
    pub check: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "archive",
        check: targets::archive::check,
    },
    Target {
        name: "board",
        check: targets::board::check,
    },
    Target {
        name: "capture",
        check: targets::capture::check,
    },
    Target {
        name: "checkpoint",
        check: targets::checkpoint::check,
    },
    Target {
        name: "client",
        check: targets::client::check,
    },
    Target {
        name: "console",
        check: targets::console::check,
    },
    Target {
        name: "csv",
        check: targets::tables::check_csv,
    },
    Target {
        name: "experiment",
        check: targets::experiment::check,
    },
    Target {
        name: "gateway",
        check: targets::gateway::check,
    },
    Target {
        name: "http",
        check: targets::http::check,
    },
    Target {
        name: "idx",
        check: targets::idx::check,
    },
    Target {
        name: "image",
        check: targets::image::check,
    },
    Target {
        name: "link",
        check: targets::link::check,
    },
    Target {
        name: "message",
        check: targets::message::check,
    },
    Target {
        name: "meter",
        check: targets::meter::check,
    },
    Target {
        name: "npz",
        check: targets::tables::check_npz,
    },
    Target {
        name: "parquet",
        check: targets::tables::check_parquet,
    },
    Target {
        name: "state",
        check: targets::state::check,
    },
    Target {
        name: "sweep",
        check: targets::sweep::check,
    },
    Target {
        name: "switch",
        check: targets::switch::check,
    },
    Target {
        name: "task",
        check: targets::task::check,
    },
    Target {
        name: "trace",
        check: targets::trace::check,
    },
];

/// The models of the target `checkpoint`, for its seeds.
pub fn checkpoint_models() -> [zfl_nn::Model; 2] {
    targets::checkpoint::models()
}

/// An update that the target `http` takes for round 1 of client 0, for its seeds.
pub fn http_update() -> Vec<u8> {
    targets::http::update(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_corpus_is_passed() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for target in TARGETS {
            let mut count = 0;
            for file in std::fs::read_dir(corpora.join(target.name)).unwrap() {
                let path = file.unwrap().path();
                // Shown where it fails.
                println!("{}", path.display());
                (target.check)(&std::fs::read(path).unwrap());
                count += 1;
            }
            assert!(count > 0, "{} has no corpus", target.name);
        }
    }
}
