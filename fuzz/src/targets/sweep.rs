//! Sweep files over an experiment: what is tried is what the space has; what is
//! refused is told with its place, in the file of either.

use std::collections::HashSet;

use zfl_lab::sweep::{Sweep, TRIALS_MAX, WIDTH_MAX};

const BOARDS: [&str; 2] = ["mps2-an386", "riscv-virt-rv32imac"];
/// Combinations that are looked at.
const CHOICES_MAX: usize = 16;

/// The sweep, and behind a zero the experiment; without it, that of the digits.
pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (text, base) = match text.split_once('\0') {
        Some(parts) => parts,
        None => (&*text, include_str!("../../../examples/digits.toml")),
    };
    let sweep = match Sweep::parse(text, base, &BOARDS) {
        Ok(sweep) => sweep,
        Err(error) => return crate::targets::experiment::refusal_holds(&error),
    };
    assert!(!sweep.parameters.is_empty() && !sweep.objectives.is_empty());
    assert!(sweep.repeats >= 1 && (1..=WIDTH_MAX).contains(&sweep.width));
    let rungs = sweep.rungs();
    assert!(rungs.is_sorted_by(|before, after| before < after));
    assert_eq!(rungs.last(), Some(&sweep.rounds));

    let choices = sweep.combinations(CHOICES_MAX);
    assert!(!choices.is_empty());
    assert!(choices.len() <= usize::try_from(TRIALS_MAX).expect("few"));
    let each: HashSet<Vec<String>> = choices.iter().map(|choice| choice.cells()).collect();
    assert_eq!(each.len(), choices.len(), "one is tried twice");
    for choice in &choices {
        assert_eq!(choice.values.len(), sweep.parameters.len());
        let sets = choice.sets(&sweep.parameters);
        // Some combinations make no experiment, and are told then.
        if let Err(error) = sweep.base.experiment(&sets) {
            crate::targets::experiment::refusal_holds(&error);
        }
    }
    assert_eq!(sweep.combinations(CHOICES_MAX), choices);
}
