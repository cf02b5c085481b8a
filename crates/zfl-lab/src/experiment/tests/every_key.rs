//! The list of keys against the types.

use super::*;

/// A link with every key.
const EVERY_LINK_KEY: &str = "[link.x]\nbased-on = \"wifi\"\nrate-up-kbps = 62.5\n\
    rate-down-kbps = 100\noverhead-bytes = 4\nburst-bytes = 3000\ndelay-ms = 15.5\n\
    jitter-ms = 15\nreorder = true\nloss = 0.01\nduplicate = 0.02\ncorrupt = 0.03\n\
    queue-bytes = 10000\nmtu-bytes = 1280\noutages = [{ from-s = 60, for-s = 1.5 }]\n\
    burst-loss = { begin = 0.1, end = 0.2, loss = 0.9 }\n\
    outage-cycle = { every-s = 60, for-s = 5 }\n";

/// Every key is read: a file that has them all is accepted, and each is in the
/// list of keys, which refuses those that are not.
#[test]
fn the_list_of_keys_is_that_of_the_types() {
    let idx = "[data.idx]\ntrain-images = \"a\"\ntrain-labels = \"a\"\ntest-images = \"a\"\ntest-labels = \"a\"\nclasses = 3\n";
    let mut found = Vec::new();
    let target = "[coordinator]\ntarget-accuracy = 0.5\non-failed-round = \"continue\"\nstaleness-rounds-max = 1\n[deadlines]\nround-quantile = 0.9\n";
    let every_layer = "[model.cnn]\nlayers = [{ conv = { filters = 3, kernel = 3 } }, { max-pool = { size = 2 } }, { average-pool = { size = 2 } }, { flatten = {} }, { dense = { outputs = 3 } }]\ninitial-weights = \"a\"\n";
    let texts = [
        FLEET,
        target,
        idx,
        "[data.mnist]\nfolder = \"a\"\n",
        "[data.csv]\nfile = \"a\"\nlabel = \"b\"\nfeatures = [\"c\"]\ngroup = \"d\"\nshape = [1, 1]\nrange = [0, 1]\nranges = { c = [2, 3] }\n",
        "[data.csv]\nfile = \"a\"\nlabel = \"b\"\nignore = [\"c\"]\ntest-file = \"d\"\n",
        "[data.parquet]\nfile = \"a\"\nlabel = \"b\"\nfeatures = [\"c\"]\ngroup = \"d\"\nshape = [1, 1]\nrange = [0, 1]\nranges = { c = [2, 3] }\n",
        "[data.parquet]\nfile = \"a\"\nlabel = \"b\"\nignore = [\"c\"]\ntest-file = \"d\"\n",
        "[data.csv]\nfile = \"a\"\ntarget = \"b\"\n",
        "[data.parquet]\nfile = \"a\"\ntarget = \"b\"\n",
        "[data.npz]\nfile = \"a\"\nsamples = \"b\"\nlabels = \"c\"\ngroups = \"d\"\nrange = [0, 1]\n",
        "[data.npz]\nfile = \"a\"\nsamples = \"b\"\nlabels = \"c\"\ntest-samples = \"d\"\ntest-labels = \"e\"\n",
        "[data.npz]\nfile = \"a\"\nsamples = \"b\"\ntarget = \"c\"\ntest-samples = \"d\"\ntest-target = \"e\"\n",
        "[partition.iid]\nsamples-per-client = 3\n",
        "[partition.shards]\n",
        "[partition.dirichlet]\n",
        "[partition.label-limited]\n",
        "[partition.quantity-skew.power-law]\n",
        "[partition.quantity-skew.dirichlet]\n",
        "[partition.natural]\n",
        "[model.softmax-regression]\ninitial-weights = \"a\"\n",
        "[model.mlp]\ninitial-weights = \"a\"\n",
        every_layer,
        "[training]\narithmetic = \"fixed\"\n",
        "[training]\nclip-norm = 1\n",
        "[training.schedule.step]\nevery = 1\nfactor = 1\n",
        "[training.schedule.exponential]\nfactor = 1\n",
        "[training.schedule.cosine]\n",
        "[training.schedule.warm-up]\nrounds = 1\n",
        "[[fleet]]\nmcu = \"nrf52840\"\nram-bytes = 100000\nsamples-max = 5\n",
        EVERY_LINK_KEY,
        "[faults.some]\navailability-trace = \"a\"\n[[fleet]]\nfaults = \"some\"\n",
        "[faults.some]\navailability-on-rounds = 1\navailability-off-rounds = 1\n",
    ];
    for text in texts {
        let written = experiment(text, &[]).to_toml();
        collect(
            "",
            &toml::Value::Table(written.parse().unwrap()),
            &mut found,
        );
    }
    let mut found: Vec<String> = found
        .into_iter()
        .map(|path| path.replacen("link.x", "link.NAME", 1))
        .collect();
    // What a link is based on is written out.
    found.push("link.NAME.based-on".to_owned());
    found.sort_unstable();
    found.dedup();
    let mut known: Vec<&str> = keys::KEYS.iter().map(|key| key.path).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

fn collect(path: &str, value: &toml::Value, found: &mut Vec<String>) {
    if !path.is_empty() {
        found.push(path.to_owned());
    }
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                // Names of the file's own.
                let is_named = path == "faults" || path.ends_with(".ranges");
                let name = if is_named { keys::NAME } else { name };
                collect(&below(name), value, found);
            }
        }
        toml::Value::Array(array) => {
            for value in array.iter().filter(|value| value.is_table()) {
                collect(&below("*"), value, found);
            }
        }
        _ => {}
    }
}
