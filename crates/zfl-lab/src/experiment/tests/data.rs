//! The tables `data` and `feature-noise`.

use insta::assert_snapshot;

use super::*;

#[test]
fn tables_are_checked() {
    let csv = "[data.csv]\nfile = \"a.csv\"\nlabel = \"b\"\n";
    let Data::Csv(table) = experiment(csv, &["data.csv.ranges.x=[-1,2]"]).data else {
        panic!("no table");
    };
    assert_eq!(table.test, TestRows::Share(0.2));
    assert_eq!(table.columns.ranges.columns["x"], (-1.0, 2.0));

    assert_snapshot!(refused("[data.csv]\nfile = \"a.csv\"\n"), @r"
    trial.toml:1:1: `data.csv`: missing key `label`, or `target`
    | [data.csv]
    | ^^^^^^^^^^
    help: `data.csv`: a table with file, and label or target, and if need be test-file or test-share, features or ignore, group, range and ranges
    ");
    assert_snapshot!(refused(&format!("{csv}lable = 1\n")), @r"
    trial.toml:4:1: unknown key `lable` in `data.csv`
    | lable = 1
    | ^^^^^
    help: did you mean `label`? allowed in `data.csv`: file, test-file, test-share, label, target, features, ignore, group, range, ranges
    ");
    assert_snapshot!(refused(&format!("{csv}test-file = \"c\"\ntest-share = 0.1\n")), @r"
    trial.toml:5:14: `data.csv.test-share` beside `data.csv.test-file`
    | test-share = 0.1
    |              ^^^
    help: `data.csv.test-share`: a number between 0 and 1, both excluded
    ");
    assert_snapshot!(refused(&format!("{csv}features = [\"c\"]\nignore = [\"d\"]\n")), @r#"
    trial.toml:5:10: `data.csv.ignore` beside `data.csv.features`
    | ignore = ["d"]
    |          ^^^^^
    help: `data.csv.ignore`: a list of names of columns, such as ["temperature", "humidity"]
    "#);
    assert_snapshot!(refused(&format!("{csv}features = []\n")), @r#"
    trial.toml:4:12: `data.csv.features` is []
    | features = []
    |            ^^
    help: `data.csv.features`: a list of names of columns, such as ["temperature", "humidity"]
    "#);
    assert_snapshot!(refused(&format!("{csv}range = [1, 1]\n")), @r"
    trial.toml:4:9: `data.csv.range` is [1, 1]
    | range = [1, 1]
    |         ^^^^^^
    help: `data.csv.range`: the smallest and the largest value, such as [-40, 85]
    ");
    assert_snapshot!(refused(&format!("{csv}ranges = {{ x = [1] }}\n")), @r"
    trial.toml:4:16: `data.csv.ranges.x` is [1]
    | ranges = { x = [1] }
    |                ^^^
    help: `data.csv.ranges.NAME`: the smallest and the largest value, such as [-40, 85]
    ");
    let npz = "[data.npz]\nfile = \"a.npz\"\nsamples = \"x\"\nlabels = \"y\"\n";
    assert_snapshot!(refused(&format!("{npz}test-samples = \"z\"\n")), @r#"
    trial.toml:5:16: `data.npz.test-samples` without `data.npz.test-labels`
    | test-samples = "z"
    |                ^^^
    help: `data.npz.test-samples`: the name of an array in the file, in quotes
    "#);
}

#[test]
fn numbers_to_learn_are_checked() {
    const TARGET: &str = "[data.csv]\nfile = \"a.csv\"\ntarget = \"b\"\n";
    let learns = experiment(TARGET, &[]);
    assert!(learns.data.has_target_values());
    assert_eq!(learns.training.loss, Loss::MeanSquaredError);
    let classes = experiment("[data.csv]\nfile = \"a.csv\"\nlabel = \"b\"\n", &[]);
    assert!(!classes.data.has_target_values());
    assert_eq!(classes.training.loss, Loss::CrossEntropy);

    assert_snapshot!(refused(&format!("{TARGET}label = \"c\"\n")), @r#"
    trial.toml:3:10: `data.csv.target` beside `data.csv.label`
    | target = "b"
    |          ^^^
    help: `data.csv.target`: the name of the column that holds the number to learn, in quotes, in place of label
    "#);
    assert_snapshot!(refused(&format!("{TARGET}[training]\nloss = \"cross-entropy\"\n")), @r#"
    trial.toml:5:8: `training.loss` is cross-entropy where a number is learnt
    | loss = "cross-entropy"
    |        ^^^^^^^^^^^^^^^
    help: only classes have a cross-entropy: set `"mean-squared-error"`, or leave it out
    "#);
    assert_snapshot!(refused(&format!("{TARGET}[coordinator]\ntarget-accuracy = 0.5\n")), @r"
    trial.toml:5:19: `coordinator.target-accuracy` where a number is learnt
    | target-accuracy = 0.5
    |                   ^^^
    help: only classes have an accuracy: leave it out
    ");
}

#[test]
fn inputs_can_have_noise() {
    let sigma = |text: &str| experiment(text, &[]).feature_noise_sigma;
    assert_eq!(sigma("[feature-noise]\n"), 0.0);
    assert_eq!(sigma("[feature-noise]\nsigma = 0.1\n"), 0.1);
    assert_snapshot!(refused("[feature-noise]\nsigma = -0.1\n"), @r"
    trial.toml:2:9: `feature-noise.sigma` is -0.1
    | sigma = -0.1
    |         ^^^^
    help: `feature-noise.sigma`: a number from 0 to 10
    ");
}
