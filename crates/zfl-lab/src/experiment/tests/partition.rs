//! The table `partition`.

use insta::assert_snapshot;
use zfl_data::ShareSizes;

use super::*;

#[test]
fn shares_can_be_bounded() {
    let partition = |text: &str| experiment(text, &[]).partition;
    assert_eq!(partition("[partition.iid]\n"), Scheme::Iid);
    let text = "[partition.iid]\nsamples-per-client = 150\n";
    let samples_per_client = 150;
    assert_eq!(partition(text), Scheme::IidSubset { samples_per_client });
    assert_snapshot!(refused("[partition.iid]\nsamples-per-client = 0\n"), @r"
    trial.toml:2:22: `partition.iid.samples-per-client` is 0
    | samples-per-client = 0
    |                      ^
    help: `partition.iid.samples-per-client`: a whole number from 1 to 65535
    ");
}

#[test]
fn shards_are_dealt_to_clients() {
    let partition = |text: &str| experiment(text, &[]).partition;
    let shards = |per_client| Scheme::Shards { per_client };
    assert_eq!(partition("[partition.shards]\n"), shards(2));
    let text = "[partition.shards]\nper-client = 5\n";
    assert_eq!(partition(text), shards(5));
    assert_snapshot!(refused("[partition.shards]\nper-client = 0\n"), @r"
    trial.toml:2:14: `partition.shards.per-client` is 0
    | per-client = 0
    |              ^
    help: `partition.shards.per-client`: a whole number from 1 to 65535
    ");
    assert_snapshot!(refused("[partition.shards]\n\n[partition.iid]\n"), @r"
    trial.toml:3:1: `partition.iid` beside `partition.shards`
    | [partition.iid]
    | ^^^^^^^^^^^^^^^
    help: `partition`: exactly one of the tables partition.iid, partition.shards, partition.dirichlet, partition.label-limited, partition.quantity-skew, partition.natural
    ");
}

#[test]
fn labels_can_be_dealt_in_parts_of_a_dirichlet_distribution() {
    let partition = |text: &str| experiment(text, &[]).partition;
    let dirichlet = |alpha, samples_min| Scheme::Dirichlet { alpha, samples_min };
    assert_eq!(partition("[partition.dirichlet]\n"), dirichlet(0.5, 1));
    let text = "[partition.dirichlet]\nalpha = 1\nsamples-min = 10\n";
    assert_eq!(partition(text), dirichlet(1.0, 10));
    assert_snapshot!(refused("[partition.dirichlet]\nalpha = 0\n"), @r"
    trial.toml:2:9: `partition.dirichlet.alpha` is 0
    | alpha = 0
    |         ^
    help: `partition.dirichlet.alpha`: a number from 0.001 to 1000000
    ");
    assert_snapshot!(refused("[partition.dirichlet]\nsamples-min = 0\n"), @r"
    trial.toml:2:15: `partition.dirichlet.samples-min` is 0
    | samples-min = 0
    |               ^
    help: `partition.dirichlet.samples-min`: a whole number from 1 to 65535
    ");
}

#[test]
fn clients_can_be_limited_to_a_few_classes() {
    let partition = |text: &str| experiment(text, &[]).partition;
    let limited = |classes| Scheme::LabelLimited { classes };
    assert_eq!(partition("[partition.label-limited]\n"), limited(2));
    let text = "[partition.label-limited]\nclasses = 256\n";
    assert_eq!(partition(text), limited(256));
    assert_snapshot!(refused("[partition.label-limited]\nclasses = 257\n"), @r"
    trial.toml:2:11: `partition.label-limited.classes` is 257
    | classes = 257
    |           ^^^
    help: `partition.label-limited.classes`: a whole number from 1 to 256
    ");
}

#[test]
fn shares_can_differ_in_size() {
    let partition = |text: &str, sets: &[&str]| experiment(text, sets).partition;
    let skew = |sizes, samples_min| Scheme::QuantitySkew { sizes, samples_min };
    let zipf = "[partition.quantity-skew.power-law]\n";
    let exponent = |exponent| ShareSizes::PowerLaw { exponent };
    assert_eq!(partition(zipf, &[]), skew(exponent(1.0), 1));
    let text = format!("{zipf}exponent = 2.5\nsamples-min = 4\n");
    assert_eq!(partition(&text, &[]), skew(exponent(2.5), 4));
    // One replaces the other.
    let set = "partition.quantity-skew.dirichlet.alpha=3";
    let alpha = ShareSizes::Dirichlet { alpha: 3.0 };
    assert_eq!(partition(&text, &[set]), skew(alpha, 1));
    assert_snapshot!(refused(&format!("{zipf}exponent = 11\n")), @r"
    trial.toml:2:12: `partition.quantity-skew.power-law.exponent` is 11
    | exponent = 11
    |            ^^
    help: `partition.quantity-skew.power-law.exponent`: a number from 0 to 10
    ");
    assert_snapshot!(refused("[partition.quantity-skew]\n"), @r"
    trial.toml:1:1: `partition.quantity-skew` says nothing
    | [partition.quantity-skew]
    | ^^^^^^^^^^^^^^^^^^^^^^^^^
    help: `partition.quantity-skew`: exactly one of the tables partition.quantity-skew.power-law, partition.quantity-skew.dirichlet
    ");
}

#[test]
fn groups_can_be_dealt_whole() {
    let partition = |text: &str| experiment(text, &[]).partition;
    assert_eq!(partition("[partition.natural]\n"), Scheme::Natural);
    let set = experiment("", &["partition.natural={}"]);
    assert_eq!(set.partition, Scheme::Natural);
}
