//! How often what goes wrong, and that nothing moves anything else.

use proptest::prelude::*;

use super::*;

fn plan(faults: &str) -> FaultPlan {
    let text = format!(
        "seed = 7\n[faults.some]\n{faults}\n[[fleet]]\nfidelity = \"native\"\ncount = 1000\n\
         [[fleet]]\nfidelity = \"native\"\ncount = 100000\nfaults = \"some\"\n"
    );
    let experiment = Experiment::parse(&text, "trial.toml", &[], &[]);
    FaultPlan::new(&experiment.unwrap_or_else(|error| panic!("{error}"))).unwrap()
}

/// The parts of clients that have faults.
fn parts(plan: &FaultPlan, count: u32) -> impl Iterator<Item = ((u32, u32), Vec<Fault>)> {
    (0..count).map(|part| {
        let name = (1000 + part % 500, 1 + part / 500);
        (name, plan.part(name.0, name.1))
    })
}

#[test]
fn clients_without_faults_have_none() {
    let plan = plan("crash = 1");
    assert_eq!(plan.part(999, 1), []);
    assert_eq!(plan.part(1000, 1), [Fault::Crash]);
    assert_eq!(plan.part(101_000, 1), []);
}

#[test]
fn the_first_that_is_drawn_takes_effect() {
    let all: String = FaultKind::DRAWN
        .iter()
        .map(|kind| format!("{} = 1\n", kind.name()))
        .collect();
    let mut left = all.as_str();
    for kind in FaultKind::DRAWN {
        let faults = plan(left).part(1000, 1);
        let kinds: Vec<FaultKind> = faults.iter().map(Fault::kind).collect();
        let fault = *faults.last().unwrap();
        match fault.leaves_update() && kind != FaultKind::SlowDown {
            true => assert_eq!(kinds, [FaultKind::SlowDown, kind]),
            false => assert_eq!(kinds, [kind]),
        }
        (_, left) = left.split_once('\n').unwrap();
    }
    let whole = format!("availability-on-rounds = 1\navailability-off-rounds = 1\n{all}");
    let plan = plan(&whole);
    let away = (1..=2)
        .map(|round| plan.part(1000, round))
        .collect::<Vec<_>>();
    assert!(away.contains(&vec![Fault::Unavailable]), "{away:?}");
    assert!(away.contains(&vec![Fault::DropOutBefore]), "{away:?}");
}

#[test]
fn a_duty_cycle_is_on_as_long_as_it_says() {
    let plan = plan("availability-on-rounds = 3\navailability-off-rounds = 2");
    let mut starts = [0; 5];
    for client in 1000..1500 {
        let away: Vec<bool> = (1..=50)
            .map(|round| !plan.part(client, round).is_empty())
            .collect();
        assert_eq!(away.iter().filter(|away| **away).count(), 20);
        assert_eq!(away[..45], away[5..], "it repeats after five rounds");
        let first = (0..5).find(|round| away[*round] && !away[(*round + 4) % 5]);
        starts[first.unwrap()] += 1;
    }
    // Not all at once.
    assert!(
        starts.iter().all(|count| (70..130).contains(count)),
        "{starts:?}"
    );
}

#[test]
fn what_a_device_cannot_do_is_refused() {
    let text = |faults: &str| {
        format!(
            "network = \"bridge\"\n[faults.a]\n{faults}\n[[fleet]]\nfidelity = \"native\"\n\
             mcu = \"lm3s6965\"\nfaults = \"a\"\n"
        )
    };
    let check = |faults: &str, what: &str| {
        let mut experiment = Experiment::parse(&text(faults), "trial.toml", &[], &[]).unwrap();
        FaultPlan::new(&experiment).unwrap();
        // As `--fidelity emulated` does.
        experiment.set_fidelity(Fidelity::Emulated);
        let error = FaultPlan::new(&experiment).err().unwrap().to_string();
        assert!(error.contains(what), "{error}");
    };
    check("brown-out = 0.1", "faults.a.brown-out=0");
    check(
        "reboot = 0.1\nreboot-keeps-data = true",
        "faults.a.reboot-keeps-data=false",
    );
    let missing = text("availability-trace = \"/nowhere/trace.csv\"");
    let missing = Experiment::parse(&missing, "trial.toml", &[], &[]).unwrap();
    let error = FaultPlan::new(&missing).err().unwrap().to_string();
    assert!(
        error.starts_with("failed to read the trace /nowhere/trace.csv: "),
        "{error}"
    );
}

#[test]
fn who_keeps_its_data_is_who_can_reboot_with_them() {
    let keeps = |faults: &str, client| plan(faults).keeps_data(client);
    assert!(keeps("reboot = 0.1\nreboot-keeps-data = true", 1000));
    assert!(!keeps("reboot = 0.1\nreboot-keeps-data = true", 999));
    assert!(!keeps("reboot = 0.1", 1000));
    assert!(!keeps("reboot-keeps-data = true", 1000));
}

#[test]
fn outcomes_are_told_of_every_kind() {
    for kind in FaultKind::all() {
        assert!(!kind.outcomes().is_empty(), "{}", kind.name());
    }
    let purposes: std::collections::BTreeSet<u16> =
        FaultKind::all().map(|kind| kind.purpose() as u16).collect();
    assert_eq!(purposes.len(), FaultKind::all().count());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// As often as the file says, within five standard deviations.
    #[test]
    fn frequencies_are_those_of_the_file(
        kind in prop::sample::select(FaultKind::DRAWN.to_vec()),
        probability in 0.0..=1.0f64,
    ) {
        const PARTS: u32 = 20_000;
        let plan = plan(&format!("{} = {probability:?}", kind.name()));
        let mut count = 0;
        for (_, faults) in parts(&plan, PARTS) {
            prop_assert!(faults.iter().all(|fault| fault.kind() == kind));
            count += faults.len();
        }
        let mean = f64::from(PARTS) * probability;
        let deviation = (mean * (1.0 - probability)).sqrt();
        prop_assert!((count as f64 - mean).abs() <= 5.0 * deviation + 1.0, "{count}, {mean}");
    }

    /// Another kind moves none: where it is not drawn, all is as it was.
    #[test]
    fn another_kind_moves_nothing(
        kind in prop::sample::select(FaultKind::DRAWN.to_vec()),
        other in prop::sample::select(FaultKind::DRAWN.to_vec()),
    ) {
        prop_assume!(kind != other);
        let alone = plan(&format!("{} = 0.3", kind.name()));
        let both = plan(&format!("{} = 0.3\n{} = 0.3", kind.name(), other.name()));
        for (name, faults) in parts(&both, 1000) {
            let is_other = |fault: &Fault| fault.kind() == other;
            if !faults.iter().any(is_other) {
                prop_assert_eq!(&faults, &alone.part(name.0, name.1));
            }
        }
    }
}
