//! Experiment files with what is laid over them: what is read can be written,
//! and reads as the same again; what is refused is told with its place.

use zfl_lab::experiment::{CLIENTS_MAX, Experiment, ExperimentError};

const BOARDS: [&str; 2] = ["mps2-an386", "riscv-virt-rv32imac"];

/// A file, and behind zeros each value of a `--set`.
pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\0');
    let file = parts.next().unwrap_or_default();
    let sets: Vec<String> = parts.map(str::to_owned).collect();
    let experiment = match Experiment::parse(file, "file.toml", &sets, &BOARDS) {
        Ok(experiment) => experiment,
        Err(error) => return refusal_holds(&error),
    };
    let written = experiment.to_toml();
    match Experiment::parse(&written, "other.toml", &[], &BOARDS) {
        Ok(again) => {
            assert_eq!(again, experiment, "{written}");
            assert_eq!(again.to_toml(), written);
        }
        Err(error) => panic!("{error}: {} of\n{written}", error.place()),
    }
    // Without a fleet, one is brought to it (`zfl serve`).
    assert!(experiment.fleet_size() <= CLIENTS_MAX);
    if let Ok(of_round) = experiment
        .coordinator
        .participation(experiment.fleet_size())
    {
        assert!(of_round.quorum >= 1 && of_round.quorum <= of_round.clients_per_round);
        assert!(of_round.clients_per_round <= experiment.fleet_size());
    }
}

/// The place is one of its text.
pub(super) fn refusal_holds(error: &ExperimentError) {
    assert!(!error.message().is_empty());
    assert!(!error.place().is_empty());
    let text = error.text().expect("a file that could be read");
    assert!(
        text.get(error.span()).is_some(),
        "{error} at {:?}",
        error.span()
    );
    if let Some((line, column)) = error.line_column() {
        let line = text
            .split('\n')
            .nth(line - 1)
            .expect("a line that there is");
        assert!(column >= 1 && column <= line.chars().count() + 1);
    }
}
