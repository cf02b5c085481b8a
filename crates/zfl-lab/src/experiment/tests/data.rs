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
    help: `data.csv`: a table with file, and label or target, and if need be test-file or test-share, features or ignore, group, shape, range and ranges
    ");
    assert_snapshot!(refused(&format!("{csv}lable = 1\n")), @r"
    trial.toml:4:1: unknown key `lable` in `data.csv`
    | lable = 1
    | ^^^^^
    help: did you mean `label`? allowed in `data.csv`: file, test-file, test-share, label, target, features, ignore, group, shape, range, ranges
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
fn shapes_of_tables_are_checked() {
    let csv = "[data.csv]\nfile = \"a.csv\"\nlabel = \"b\"\n";
    for shape in [vec![28, 28], vec![4096, 1, 3]] {
        let text = format!("{csv}shape = {shape:?}\n");
        let Data::Csv(table) = experiment(&text, &[]).data else {
            panic!("no table");
        };
        assert_eq!(table.columns.shape, shape);
    }
    assert_snapshot!(refused(&format!("{csv}shape = [28]\n")), @r"
    trial.toml:4:9: `data.csv.shape` is [28]
    | shape = [28]
    |         ^^^^
    help: `data.csv.shape`: height and width of an image, and if need be channels, from 1 to 4096 each, such as [28, 28]
    ");
    for shape in ["[]", "[1, 2, 3, 4]", "[0, 3]", "[3, 4097]", "[-1, -1]"] {
        let refusal = refused(&format!("{csv}shape = {shape}\n"));
        assert!(refusal.contains("`data.csv.shape` is ["), "{refusal}");
    }
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

#[test]
fn numbers_of_arrays_are_checked() {
    const NPZ: &str = "[data.npz]\nfile = \"a.npz\"\nsamples = \"x\"\n";
    let learns = |more: &str| experiment(&format!("{NPZ}{more}"), &[]);
    let numbers = learns("target = \"y\"\ntest-samples = \"v\"\ntest-target = \"w\"\n");
    assert!(numbers.data.has_target_values());
    assert_eq!(numbers.training.loss, Loss::MeanSquaredError);
    assert!(!learns("labels = \"y\"\n").data.has_target_values());

    assert_snapshot!(refused(NPZ), @r"
    trial.toml:1:1: `data.npz`: missing key `labels`, or `target`
    | [data.npz]
    | ^^^^^^^^^^
    help: `data.npz`: a table with file, samples, and labels or target, and if need be groups, test-samples and test-labels or test-target, test-share and range
    ");
    assert_snapshot!(refused(&format!("{NPZ}labels = \"y\"\ntarget = \"z\"\n")), @r#"
    trial.toml:5:10: `data.npz.target` beside `data.npz.labels`
    | target = "z"
    |          ^^^
    help: `data.npz.target`: the name of the array that holds the numbers to learn, in quotes, in place of labels
    "#);
    assert_snapshot!(refused(&format!("{NPZ}target = \"y\"\ntest-samples = \"v\"\n")), @r#"
    trial.toml:5:16: `data.npz.test-samples` without `data.npz.test-target`
    | test-samples = "v"
    |                ^^^
    help: `data.npz.test-samples`: the name of an array in the file, in quotes
    "#);
    assert_snapshot!(refused(&format!("{NPZ}target = \"y\"\ntest-labels = \"v\"\n")), @r#"
    trial.toml:5:15: `data.npz.test-labels` beside `data.npz.target`
    | test-labels = "v"
    |               ^^^
    help: `data.npz.test-labels`: the name of the array that holds the labels of test-samples, in quotes, where labels names those to learn
    "#);
    assert_snapshot!(refused(&format!("{NPZ}labels = \"y\"\ntest-target = \"v\"\n")), @r#"
    trial.toml:5:15: `data.npz.test-target` beside `data.npz.labels`
    | test-target = "v"
    |               ^^^
    help: `data.npz.test-target`: the name of the array that holds the numbers of test-samples, in quotes, where target names those to learn
    "#);
}
